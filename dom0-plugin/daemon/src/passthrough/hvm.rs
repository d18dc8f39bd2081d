//! An HVM guest meets its devices on an emulated bus: QEMU shows them, ACPI tells of their coming and going.
//!
//! What libxl lists says little. It lists a device before the guest has looked, and goes on listing one that the guest ejected after
//! libxl had given up waiting. The guest's own sessions know best; where none tells, the device model is asked.

use super::absence::Absence;
use super::device::Device;
use super::error::DeviceProblem;
use super::kind::GuestKind;
use super::look::look;
use super::toolstack::{Emulated, Toolstack};
use super::wait::wait;
use crate::carrier::Carrier;
use channel::bus::{Bus, BusDevice};
use channel::image::SessionId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often is looked at what the guest has to do: each look costs a session or QEMU a little.
const PACE: Duration = Duration::from_millis(500);
/// libxl asks QEMU once a second whether a device has gone (`pci_remove_query_cb` of `libxl_pci.c`): time for two such looks and
/// for what it does then.
const LIBXL_LOOKS: Duration = Duration::from_secs(3);

/// Domains whose ACPI interrupt was pulsed for devices that they have not found yet.
pub type Pulsed = Mutex<BTreeSet<u32>>;

/// One such guest.
pub struct HvmGuest<'a> {
    pub domid: u32,
    pub carrier: &'a dyn Carrier,
    pub toolstack: &'a dyn Toolstack,
    /// The one session to ask; all if `None`.
    pub asked: Option<SessionId>,
    pub pulsed: &'a Pulsed,
}

impl HvmGuest<'_> {
    /// Why it does not use one of `devices`, which are assigned to it.
    pub fn absence(&self, devices: &[Device]) -> io::Result<Option<Absence>> {
        self.absence_after(devices, false)
    }

    fn absence_after(&self, devices: &[Device], rescan: bool) -> io::Result<Option<Absence>> {
        if devices.is_empty() {
            return Ok(None);
        }
        let buses = look(self.carrier, self.domid, self.asked, rescan).buses;
        // A process in a container may see less than others.
        let widest = buses.into_iter().max_by_key(|bus| bus.devices.len());
        let ids = devices
            .iter()
            .map(|d| Some((d, self.toolstack.in_dom0(d).id?)));
        match (widest, ids.collect::<Option<Vec<_>>>()) {
            (Some(bus), Some(wanted)) => Ok(by_bus(&bus, &wanted)),
            _ => self.by_device_model(devices),
        }
    }

    fn by_device_model(&self, devices: &[Device]) -> io::Result<Option<Absence>> {
        let emulated = self.toolstack.emulated(self.domid)?;
        let absent = devices.iter().find_map(|device| {
            let name = device.to_string();
            match find(&emulated, device) {
                None => Some(Absence::Stale { device: name }),
                Some(e) if !e.is_mapped => Some(Absence::Unmapped { device: name }),
                Some(_) => None,
            }
        });
        Ok(absent)
    }

    /// Waits until it has found `devices`; whether that was needed. `slept`: they may have been plugged before it ran. The interrupt
    /// that told of them was then lost: it was high already when Linux bound it again, and no edge comes after that.
    pub fn connect(
        &self,
        devices: &[Device],
        slept: bool,
        patience: Duration,
    ) -> Result<bool, DeviceProblem> {
        let failed = DeviceProblem::Link;
        let started = Instant::now();
        // One that ran may have been resumed a moment ago.
        let pulse_at = if slept { Duration::ZERO } else { patience / 4 };
        let mut rescanned = false;
        let mut first = true;
        loop {
            let late = started.elapsed() >= patience / 2;
            let absence = self
                .absence_after(devices, late && !rescanned)
                .map_err(failed)?;
            rescanned |= late;
            let Some(absence) = absence else {
                self.pulsed().remove(&self.domid);
                return Ok(!first);
            };
            if first {
                log::info!("domain {}: {absence} yet", self.domid);
            }
            first = false;
            if started.elapsed() >= pulse_at && self.pulsed().insert(self.domid) {
                self.toolstack
                    .wake(self.domid, GuestKind::Hvm)
                    .map_err(failed)?;
            }
            let left = patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(DeviceProblem::NotFound { absence, patience });
            }
            std::thread::sleep(PACE.min(left));
        }
    }

    /// Wakes it if it does not see one of `devices`, which may have been plugged before it ran.
    pub fn wake_if_unseen(&self, devices: &[Device]) -> io::Result<()> {
        let unseen = matches!(self.absence(devices)?, Some(Absence::Unseen { .. }));
        match unseen && self.pulsed().insert(self.domid) {
            true => self.toolstack.wake(self.domid, GuestKind::Hvm),
            false => Ok(()),
        }
    }

    fn pulsed(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
        self.pulsed.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes a device away. libxl waits 10 s; a guest that ejects later leaves the device on libxl's list, from which it is then
    /// struck.
    pub fn detach(&self, device: &Device, patience: Duration) -> io::Result<()> {
        let started = Instant::now();
        let said = self.toolstack.detach(self.domid, device).err();
        let rest = |least: Duration| patience.saturating_sub(started.elapsed()).max(least);
        let is_listed = || self.is_listed(device);
        if said.is_none() && wait(rest(PACE), PACE, || Ok(!is_listed()?))? {
            return Ok(());
        }
        let is_gone = || Ok(!is_listed()? || !self.is_emulated(device)?);
        if wait(rest(LIBXL_LOOKS), PACE, is_gone)? {
            return self.strike(device);
        }
        let said = said.map_or_else(String::new, |e| format!("{e}; "));
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "{said}the guest has not let go of it within {:.0?}: {}",
                started.elapsed(),
                self.whereabouts(device)
            ),
        ))
    }

    /// Takes it off libxl's list if it stands there.
    fn strike(&self, device: &Device) -> io::Result<()> {
        if !self.is_listed(device)? {
            return Ok(());
        }
        log::warn!(
            "domain {}: PCI device {device} has left the guest, and libxl lists it still: it is struck off",
            self.domid
        );
        self.toolstack.drop_stale(self.domid, device)?;
        match self.is_listed(device)? {
            false => Ok(()),
            true => Err(io::Error::other(
                "the guest's device model has it no longer, and libxl does not strike it off its list",
            )),
        }
    }

    /// Strikes those of `listed` off that the device model does not have; what is left. Where it cannot be asked, libxl is believed.
    pub fn without_stale(&self, listed: Vec<Device>) -> io::Result<Vec<Device>> {
        // The guest's word costs less, and is enough where all is well.
        let lacks_one = |listed: &[Device]| matches!(self.absence(listed), Ok(Some(_)));
        if listed.is_empty() || !lacks_one(&listed) {
            return Ok(listed);
        }
        let mut here = Vec::new();
        for device in listed {
            // Not in the middle of libxl's own work: someone may be detaching it by hand.
            let is_there = |device: &Device| self.is_emulated(device).unwrap_or(true);
            if is_there(&device) || wait(LIBXL_LOOKS, PACE, || Ok(is_there(&device)))? {
                here.push(device);
            } else {
                self.strike(&device)?;
            }
        }
        Ok(here)
    }

    fn is_listed(&self, device: &Device) -> io::Result<bool> {
        let listed = self.toolstack.assigned(self.domid)?;
        Ok(listed.iter().any(|d| d.bdf == device.bdf))
    }

    fn is_emulated(&self, device: &Device) -> io::Result<bool> {
        let emulated = self.toolstack.emulated(self.domid)?;
        Ok(find(&emulated, device).is_some())
    }

    /// For people: what the guest does with a device that it should give up.
    fn whereabouts(&self, device: &Device) -> String {
        let Some(id) = self.toolstack.in_dom0(device).id else {
            return "dom0 does not know it".into();
        };
        let buses = look(self.carrier, self.domid, self.asked, false).buses;
        let on_bus = buses
            .iter()
            .flat_map(|bus| &bus.devices)
            .find(|d| d.id() == id);
        match (buses.is_empty(), on_bus.map(|d| d.driver.as_deref())) {
            (true, _) => "its device model has it still; look into the guest's kernel log".into(),
            (_, Some(Some(driver))) => format!(
                "its driver {driver} there has not given it up; if something uses it, end that, or the device leaves whenever that ends"
            ),
            (_, Some(None)) => {
                "it is on the guest's bus without a driver: did the guest hear of it (ACPI)?".into()
            }
            (_, None) => "the guest's kernel has removed it, and has not ejected it".into(),
        }
    }
}

fn find<'e>(emulated: &'e [Emulated], device: &Device) -> Option<&'e Emulated> {
    let id = device.emulated_id();
    emulated.iter().find(|e| e.id == id)
}

/// There may be several of a kind.
fn by_bus(bus: &Bus, wanted: &[(&Device, (u16, u16))]) -> Option<Absence> {
    let mut there: BTreeMap<(u16, u16), Vec<&BusDevice>> = BTreeMap::new();
    for device in bus.devices.iter().rev() {
        there.entry(device.id()).or_default().push(device);
    }
    wanted.iter().find_map(|(device, id)| {
        let device = device.to_string();
        match there.get_mut(id).and_then(Vec::pop) {
            None => Some(Absence::Unseen { device }),
            Some(found) if found.unplaced > 0 => Some(Absence::NoRoom {
                device,
                bytes: found.unplaced,
            }),
            Some(_) => None,
        }
    })
}
