//! An HVM guest meets its devices on an emulated bus: QEMU shows them, ACPI tells of their coming and going.
//!
//! What libxl lists says little. It lists a device before the guest has looked, and goes on listing one that the guest ejected after
//! libxl had given up waiting. The guest's own sessions know best; where none tells, the device model is asked.

use super::absence::Absence;
use super::device::Device;
use super::error::DeviceProblem;
use super::kind::GuestKind;
use super::look::{PATIENCE, look};
use super::on_bus::{Answer, answer, unbound};
use super::toolstack::{Emulated, Toolstack};
use super::wait::wait;
use crate::carrier::Carrier;
use channel::image::SessionId;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard};
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
    /// A detach has timed out, and its removal may still be under way in the guest's kernel.
    pub is_leaving: bool,
}

impl HvmGuest<'_> {
    /// Why it does not use one of `devices`, which are assigned to it.
    pub fn absence(&self, devices: &[Device]) -> io::Result<Option<Absence>> {
        let absence = self.look(devices, self.asked, false, PATIENCE)?;
        Ok(absence.filter(|absence| !absence.is_on_bus()))
    }

    /// The same, and whether libxl lists in vain what the guest does not see.
    pub fn diagnosis(&self, devices: &[Device]) -> io::Result<Option<Absence>> {
        let absence = self.absence(devices)?;
        let stale = match absence {
            Some(Absence::Unseen { .. }) => self.stale(devices, LIBXL_LOOKS),
            _ => Vec::new(),
        };
        let stale = stale.first().map(|device| Absence::Stale {
            device: device.to_string(),
        });
        Ok(stale.or(absence))
    }

    fn look(
        &self,
        devices: &[Device],
        asked: Option<SessionId>,
        rescan: bool,
        patience: Duration,
    ) -> io::Result<Option<Absence>> {
        if devices.is_empty() {
            return Ok(None);
        }
        let buses = look(self.carrier, self.domid, asked, rescan, patience).buses;
        // A process in a container may see less than others.
        let widest = buses.iter().max_by_key(|bus| bus.devices.len());
        let ids = devices
            .iter()
            .map(|d| Some((d, self.toolstack.in_dom0(d).id?)));
        let (Some(bus), Some(wanted)) = (widest, ids.collect::<Option<Vec<_>>>()) else {
            return self.by_device_model(devices);
        };
        Ok(match answer(bus, &wanted) {
            Answer::Absent(absence) => Some(absence),
            Answer::There => unbound(&buses, &wanted),
            Answer::Unclear => self.by_device_model(devices)?,
        })
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

    /// Waits until it has found `devices`, and their drivers have them again as before; whether that was needed. `slept`: they may have been plugged before it ran. The interrupt
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
        let pulse_at = if slept {
            Duration::ZERO
        } else {
            LIBXL_LOOKS.min(patience / 4)
        };
        let (mut first, mut on_bus, mut rescanned) = (true, false, self.is_leaving);
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let late = left < patience / 2;
            // The one session may see less than others.
            let asked = self.asked.filter(|_| !late);
            let (scan, cap) = (late && !on_bus && !rescanned, PATIENCE.min(left.max(PACE)));
            let absence = self.look(devices, asked, scan, cap).map_err(failed)?;
            rescanned |= scan;
            let Some(absence) = absence else {
                self.has_found();
                return Ok(!first);
            };
            if first {
                log::info!("domain {}: {absence} yet", self.domid);
            }
            (first, on_bus) = (false, absence.is_on_bus());
            if on_bus && left.is_zero() {
                // A driver that does not come keeps nobody from trying.
                log::warn!("domain {}: {absence}; {}", self.domid, absence.remedy());
                self.has_found();
                return Ok(true);
            }
            if !on_bus && started.elapsed() >= pulse_at && self.pulsed().insert(self.domid) {
                let woken = self.toolstack.wake(self.domid, GuestKind::Hvm);
                woken.map_err(failed)?;
            }
            if left.is_zero() {
                return Err(DeviceProblem::NotFound { absence, patience });
            }
            let pace = match absence {
                Absence::Unmapped { .. } | Absence::Stale { .. } => 4 * PACE,
                _ => PACE,
            };
            std::thread::sleep(pace.min(patience / 8).min(left));
        }
    }

    /// Wakes it if it does not see one of `devices`, which may have been plugged before it ran; whether it has them all.
    pub fn wake_if_unseen(&self, devices: &[Device]) -> io::Result<bool> {
        let absence = self.absence(devices)?;
        match absence {
            Some(Absence::Unseen { .. }) if self.pulsed().insert(self.domid) => {
                self.toolstack.wake(self.domid, GuestKind::Hvm)?;
            }
            Some(_) => {}
            None => self.has_found(),
        }
        Ok(absence.is_none())
    }

    /// The next arrival is another one.
    pub fn has_found(&self) {
        self.pulsed().remove(&self.domid);
    }

    fn pulsed(&self) -> MutexGuard<'_, BTreeSet<u32>> {
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
            self.has_found();
            return Ok(());
        }
        // It may not have heard of it, for the reason that `connect` has.
        if let Err(e) = self.toolstack.wake(self.domid, GuestKind::Hvm) {
            log::warn!("domain {}: {e}", self.domid);
        }
        let is_gone = || Ok(!is_listed()? || !self.may_be_emulated(device));
        if wait(rest(LIBXL_LOOKS), PACE, is_gone)? {
            self.has_found();
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

    /// Takes a device that has left off libxl's list if it stands there.
    pub fn strike(&self, device: &Device) -> io::Result<()> {
        if !self.is_listed(device)? {
            return Ok(());
        }
        // Forced on a device that is there, it would leave QEMU's mappings behind.
        if self.may_be_emulated(device) {
            return Err(io::Error::other("the guest's device model has it"));
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

    /// Those of `listed` that libxl lists and the device model does not have; none where it cannot be asked.
    pub fn stale(&self, listed: &[Device], grace: Duration) -> Vec<Device> {
        if listed.is_empty() {
            return Vec::new();
        }
        let mut stale = listed.to_vec();
        let mut sieve = || -> io::Result<bool> {
            let emulated = self.toolstack.emulated(self.domid)?;
            stale.retain(|device| find(&emulated, device).is_none());
            if !stale.is_empty() {
                let listed = self.toolstack.assigned(self.domid)?;
                stale.retain(|device| listed.iter().any(|d| d.bdf == device.bdf));
            }
            Ok(stale.is_empty())
        };
        // Not in the middle of libxl's own work: someone may be detaching it by hand.
        match wait(grace.max(LIBXL_LOOKS), PACE, &mut sieve) {
            Ok(_) => stale,
            Err(e) => {
                log::debug!("domain {}: {e}", self.domid);
                Vec::new()
            }
        }
    }

    /// Those of `unlisted` that the device model has: libxl lists a device last when it attaches it.
    pub fn ghosts(&self, unlisted: &[Device]) -> io::Result<Vec<Device>> {
        let mut ghosts = unlisted.to_vec();
        wait(LIBXL_LOOKS, PACE, || {
            let emulated = self.toolstack.emulated(self.domid)?;
            let listed = self.toolstack.assigned(self.domid)?;
            ghosts.retain(|device| {
                let is_listed = listed.iter().any(|d| d.bdf == device.bdf);
                !is_listed && find(&emulated, device).is_some()
            });
            Ok(ghosts.is_empty())
        })?;
        Ok(ghosts)
    }

    /// Has the device model unplug a device that libxl does not list, and waits until the guest has ejected it.
    pub fn unplug(&self, device: &Device, patience: Duration) -> io::Result<()> {
        log::warn!(
            "domain {}: its device model has PCI device {device}, and libxl does not list it: it is unplugged",
            self.domid
        );
        self.toolstack.unplug(self.domid, device)?;
        let is_gone = || {
            let emulated = self.toolstack.emulated(self.domid)?;
            Ok(find(&emulated, device).is_none())
        };
        match wait(patience, PACE, is_gone)? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the guest has not ejected it within {patience:?}"),
            )),
        }
    }

    fn is_listed(&self, device: &Device) -> io::Result<bool> {
        let listed = self.toolstack.assigned(self.domid)?;
        Ok(listed.iter().any(|d| d.bdf == device.bdf))
    }

    /// True also where the device model cannot be asked.
    fn may_be_emulated(&self, device: &Device) -> bool {
        let emulated = self.toolstack.emulated(self.domid);
        emulated
            .inspect_err(|e| log::debug!("domain {}: {e}", self.domid))
            .map_or(true, |all| find(&all, device).is_some())
    }

    /// For people: what the guest does with a device that it should give up.
    fn whereabouts(&self, device: &Device) -> String {
        let Some(id) = self.toolstack.in_dom0(device).id else {
            return "dom0 does not know it".into();
        };
        let seen = look(self.carrier, self.domid, self.asked, false, LIBXL_LOOKS);
        let mut on_bus = seen.buses.iter().flat_map(|bus| &bus.devices);
        let on_bus = on_bus.find(|d| d.id() == id);
        match (seen.buses.is_empty(), on_bus.map(|d| d.driver.as_deref())) {
            (true, _) => "its device model has it still; look into the guest's kernel log".into(),
            (_, Some(Some(driver))) => format!(
                "its driver {driver} there has not given it up; if something uses it, end that, or the device leaves whenever that ends"
            ),
            (_, Some(None)) => {
                // The kernel takes the driver off the list before it asks it to let go.
                "its driver there is letting go of it and waits for whoever uses it, or there is no driver and the guest did not hear \
                 of the removal (ACPI); its kernel log tells"
                    .into()
            }
            (_, None) => "the guest's kernel has removed it, and has not ejected it".into(),
        }
    }
}

fn find<'e>(emulated: &'e [Emulated], device: &Device) -> Option<&'e Emulated> {
    let id = device.emulated_id();
    emulated.iter().find(|e| e.id == id)
}
