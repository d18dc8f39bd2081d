//! What a guest's PCI bus, as its sessions tell of it, says of the devices that it should have.

use super::absence::Absence;
use super::device::Device;
use channel::bus::{Bus, BusDevice};

/// A device that a guest should have, and its vendor and device ids.
pub type Wanted<'d> = (&'d Device, (u16, u16));

/// What the bus says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// They are there, and each has its place.
    There,
    /// One is not.
    Absent(Absence),
    /// It may be another device that is seen, or more devices are there than were told.
    Unclear,
}

/// Of all that are `wanted`. A device is known by the slot that libxl had from the device model, and by its ids.
pub fn answer(bus: &Bus, wanted: &[Wanted]) -> Answer {
    let mut free: Vec<&BusDevice> = bus.devices.iter().collect();
    for (device, id) in wanted {
        let fits = |d: &BusDevice| d.id() == *id;
        let in_slot = |d: &BusDevice| slot(device).is_none_or(|slot| d.address.starts_with(&slot));
        let Some(found) = free.iter().position(|d| fits(d) && in_slot(d)) else {
            if bus.cut > 0 || free.iter().any(|d| fits(d)) {
                return Answer::Unclear;
            }
            let device = device.to_string();
            return Answer::Absent(Absence::Unseen { device });
        };
        let bytes = free.remove(found).unplaced;
        if bytes > 0 {
            let device = device.to_string();
            return Answer::Absent(Absence::NoRoom { device, bytes });
        }
    }
    Answer::There
}

/// Of `wanted`, one whose driver is still to take it: by the word of a session that knew it before.
pub fn unbound(buses: &[Bus], wanted: &[Wanted]) -> Option<Absence> {
    let seen = buses.iter().flat_map(|bus| &bus.devices);
    seen.filter_map(|d| Some((d, d.was.clone()?)))
        .find_map(|(seen, driver)| {
            let (device, _) = wanted.iter().find(|(_, id)| *id == seen.id())?;
            let device = device.to_string();
            Some(Absence::Unbound { device, driver })
        })
}

/// How its address in the guest begins. QEMU puts it on the root bus; slot 0 there is the host bridge's.
fn slot(device: &Device) -> Option<String> {
    let slot = device.vslot.filter(|slot| *slot > 0)?;
    Some(format!("0000:00:{slot:02x}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: (u16, u16) = (0x10de, 0x2335);

    fn bus(slots: &[u32]) -> Bus {
        let device = |slot: &u32| BusDevice {
            vendor: ID.0,
            device: ID.1,
            address: format!("0000:00:{slot:02x}.0"),
            ..BusDevice::default()
        };
        Bus {
            devices: slots.iter().map(device).collect(),
            ..Bus::default()
        }
    }

    fn at(bdf: &str, vslot: Option<u32>) -> Device {
        Device {
            vslot,
            ..Device::at(bdf)
        }
    }

    #[test]
    fn another_device_of_the_same_kind_is_not_taken_for_it() {
        let (first, second) = (at("first", Some(5)), at("second", Some(6)));
        let both = [(&first, ID), (&second, ID)];
        assert_eq!(answer(&bus(&[6, 5]), &both), Answer::There);
        let absent = |device: &Device| {
            let device = device.to_string();
            Answer::Absent(Absence::Unseen { device })
        };
        assert_eq!(answer(&bus(&[6]), &both[1..]), Answer::There);
        assert_eq!(
            answer(&bus(&[6]), &both[..1]),
            Answer::Unclear,
            "an emulated one"
        );
        assert_eq!(
            answer(&bus(&[5]), &both),
            absent(&second),
            "the one that is not there"
        );
        assert_eq!(answer(&bus(&[]), &both), absent(&first));
        // Where libxl knows no slot, ids have to do.
        for vslot in [None, Some(0)] {
            assert_eq!(
                answer(&bus(&[9]), &[(&at("third", vslot), ID)]),
                Answer::There
            );
        }
    }

    #[test]
    fn a_list_that_was_cut_proves_no_absence() {
        let mut bus = bus(&[]);
        let device = at("0000:3b:00.0", None);
        assert!(matches!(answer(&bus, &[(&device, ID)]), Answer::Absent(_)));
        bus.cut = 1;
        assert_eq!(answer(&bus, &[(&device, ID)]), Answer::Unclear);
    }

    #[test]
    fn a_driver_that_is_still_to_come() {
        let (mut buses, device) = ([bus(&[5]), bus(&[5])], Device::at("0000:3b:00.0"));
        assert_eq!(unbound(&buses, &[(&device, ID)]), None);
        buses[1].devices[0].was = Some("nvidia".into());
        let absence = unbound(&buses, &[(&device, ID)]).unwrap();
        assert!(absence.is_on_bus());
        assert!(
            absence
                .to_string()
                .contains("driver nvidia has not taken PCI device 0000:3b:00.0")
        );
        assert_eq!(unbound(&buses, &[(&device, (1, 2))]), None);
    }
}
