//! What is believed of a domain's devices at one moment.
//!
//! Three lists say something of it. libxl's says what the domain is to have; it goes on listing a device that the guest ejected after
//! libxl had given up waiting. The device model's says what an HVM guest could use. The record says what was taken.
//!
//! | libxl lists it | on record | the device model | it is |
//! |---|---|---|---|
//! | yes | no | has it, or cannot be asked | assigned |
//! | yes | no | has it not | stale |
//! | yes | removal done | has it, or cannot be asked | back |
//! | yes | removal pending or late | has it, or cannot be asked | leaving |
//! | yes | yes | has it not | stale |
//! | no | yes | | away |
//!
//! Whether the guest *uses* a device that is assigned, back or leaving is another matter: [`super::absence`].

use super::device::Device;
use super::taken::{Removal, Taken};
use super::toolstack::Toolstack;
use std::io;

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The domain's, and nobody took it.
    Assigned,
    /// Taken: to be attached.
    Away,
    /// Taken and given back, or never gone: the record is to go once the guest uses it.
    Back,
    /// It was to leave and has not. The guest uses it for now; the record stays.
    Leaving,
    /// It has left without libxl's notice: to be struck off libxl's list, and then away.
    Stale,
}

impl Standing {
    /// By the three lists. `is_gone`: the device model says that it does not have it.
    pub fn of(is_listed: bool, record: Option<Removal>, is_gone: bool) -> Option<Standing> {
        Some(match (is_listed, record, is_gone) {
            (true, _, true) => Standing::Stale,
            (true, None, false) => Standing::Assigned,
            (true, Some(Removal::Done), false) => Standing::Back,
            (true, Some(Removal::Pending | Removal::Late), false) => Standing::Leaving,
            (false, Some(_), _) => Standing::Away,
            (false, None, _) => return None,
        })
    }
}

/// A domain's devices.
#[derive(Debug, Clone)]
pub struct Standings {
    /// What libxl lists, in its order.
    pub listed: Vec<Device>,
    /// What was taken, in the order in which it is to come back.
    pub record: Vec<Taken>,
    /// Of those listed, what the device model does not have.
    gone: Vec<Device>,
}

impl Standings {
    /// As the two lists are; nobody has asked the device model.
    pub fn read(toolstack: &dyn Toolstack, domid: u32) -> io::Result<Standings> {
        Ok(Standings {
            record: toolstack.record(domid)?,
            listed: toolstack.assigned(domid)?,
            gone: Vec::new(),
        })
    }

    /// There is nothing of which anything is believed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.record.is_empty()
    }

    /// The device model does not have `gone`: they go on record, to come back.
    pub fn note_gone(&mut self, gone: Vec<Device>) {
        for device in &gone {
            if !self.record.iter().any(|t| t.device.bdf == device.bdf) {
                self.record.push(device.clone().into());
            }
        }
        self.gone = gone;
    }

    /// All, with where they are.
    pub fn all(&self) -> impl Iterator<Item = (&Device, Standing)> {
        let taken = self.record.iter().map(|t| &t.device);
        let others = self.listed.iter().filter(|d| self.removal(d).is_none());
        taken.chain(others).filter_map(|device| {
            let is_listed = is_one_of(device, &self.listed);
            let is_gone = is_one_of(device, &self.gone);
            Some((
                device,
                Standing::of(is_listed, self.removal(device), is_gone)?,
            ))
        })
    }

    /// Those that are there.
    pub fn that_are(&self, standing: Standing) -> Vec<Device> {
        let all = self.all().filter(|(_, is)| *is == standing);
        all.map(|(device, _)| device.clone()).collect()
    }

    /// It was struck off libxl's list.
    pub fn struck(&mut self, device: &Device) {
        self.listed.retain(|d| d.bdf != device.bdf);
        self.set_removal(device, Removal::Done);
    }

    /// How far the removal of a device on record has come.
    pub fn set_removal(&mut self, device: &Device, removal: Removal) {
        let mut record = self.record.iter_mut();
        if let Some(taken) = record.find(|t| t.device.bdf == device.bdf) {
            taken.removal = removal;
        }
    }

    /// The guest uses all that are listed, as `listed` is now: what is left on record may leave yet.
    pub fn settle(&mut self, listed: Vec<Device>) {
        self.record.retain(Taken::may_leave);
        let late = self.record.iter_mut();
        late.for_each(|taken| taken.removal = Removal::Late);
        self.listed = listed;
    }

    /// Whether the guest was found to use all that are here before, and none is missing.
    pub fn is_settled(&self) -> bool {
        self.record.iter().all(|t| t.removal == Removal::Late)
            && self.all().all(|(_, is)| is != Standing::Away)
    }

    fn removal(&self, device: &Device) -> Option<Removal> {
        let mut record = self.record.iter();
        Some(record.find(|t| t.device.bdf == device.bdf)?.removal)
    }
}

fn is_one_of(device: &Device, devices: &[Device]) -> bool {
    devices.iter().any(|d| d.bdf == device.bdf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Removal::{Done, Late, Pending};
    use Standing::{Assigned, Away, Back, Leaving, Stale};

    #[test]
    fn the_table() {
        for (is_listed, record, is_gone, standing) in [
            (true, None, false, Some(Assigned)),
            (true, None, true, Some(Stale)),
            (true, Some(Done), false, Some(Back)),
            (true, Some(Pending), false, Some(Leaving)),
            (true, Some(Late), false, Some(Leaving)),
            (true, Some(Done), true, Some(Stale)),
            (true, Some(Late), true, Some(Stale)),
            (false, Some(Done), false, Some(Away)),
            (false, Some(Pending), false, Some(Away)),
            (false, None, false, None),
        ] {
            assert_eq!(Standing::of(is_listed, record, is_gone), standing);
        }
    }

    #[test]
    fn a_device_s_way_out_and_back() {
        let (first, second) = (Device::at("0000:01:00.0"), Device::at("0000:02:00.0"));
        let mut standings = Standings {
            listed: vec![first.clone(), second.clone()],
            record: vec![second.clone().into()],
            gone: Vec::new(),
        };
        assert_eq!(
            (standings.that_are(Back), standings.that_are(Assigned)),
            (vec![second.clone()], vec![first.clone()])
        );
        standings.set_removal(&second, Pending);
        assert_eq!(standings.that_are(Leaving), std::slice::from_ref(&second));
        // Both have left the guest, and nobody had taken the first.
        standings.note_gone(vec![first.clone(), second.clone()]);
        let stale = standings.that_are(Stale);
        assert_eq!(stale.len(), 2);
        stale.iter().for_each(|device| standings.struck(device));
        assert_eq!(
            standings.that_are(Away),
            [second.clone(), first.clone()],
            "the recorded one first"
        );
        assert!(!standings.is_settled());
        standings.settle(vec![second, first]);
        assert!(standings.record.is_empty() && standings.is_settled());
    }

    #[test]
    fn what_may_leave_stays_on_record() {
        let device = Device::at("0000:01:00.0");
        let mut standings = Standings {
            listed: vec![device.clone()],
            record: vec![device.clone().into()],
            gone: Vec::new(),
        };
        standings.set_removal(&device, Pending);
        assert!(
            !standings.is_settled(),
            "nobody has looked whether it is used"
        );
        standings.settle(vec![device.clone()]);
        assert!(standings.is_settled());
        assert_eq!(standings.that_are(Leaving), [device]);
    }
}
