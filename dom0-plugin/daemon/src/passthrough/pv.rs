//! A paravirtual guest meets its devices by pcifront.

use super::absence::Absence;
use super::device::Device;
use super::error::DeviceProblem;
use super::kind::GuestKind;
use super::toolstack::{Link, Toolstack};
use super::wait::wait;
use std::io;
use std::time::Duration;

/// How often something is looked at that the guest has to do.
const PACE: Duration = Duration::from_millis(20);

/// One such guest.
pub struct PvGuest<'a> {
    pub domid: u32,
    pub toolstack: &'a dyn Toolstack,
}

impl PvGuest<'_> {
    /// Why it does not use what is assigned to it.
    pub fn absence(&self) -> io::Result<Option<Absence>> {
        let waits = self.toolstack.link(self.domid)? == Link::Waiting;
        Ok(waits.then_some(Absence::NotTaken))
    }

    /// Waits until it has taken what is assigned to it; whether that was needed. `slept`: its device may have come before it ran.
    pub fn connect(&self, slept: bool, patience: Duration) -> Result<bool, DeviceProblem> {
        if self.absence().map_err(DeviceProblem::Link)?.is_none() {
            return Ok(false);
        }
        if slept {
            let woken = self.toolstack.wake(self.domid, GuestKind::Pv);
            woken.map_err(DeviceProblem::Link)?;
        }
        let is_connected = || Ok(self.toolstack.link(self.domid)? == Link::Connected);
        match wait(patience, PACE, is_connected).map_err(DeviceProblem::Link)? {
            true => Ok(true),
            false => Err(DeviceProblem::NotTaken(patience)),
        }
    }

    /// Takes a device away. `xl pci-detach` reports success also where the guest has not answered.
    pub fn detach(&self, device: &Device, patience: Duration) -> io::Result<()> {
        self.toolstack.detach(self.domid, device)?;
        let is_gone = || {
            let left = self.toolstack.assigned(self.domid)?;
            Ok(!left.iter().any(|d| d.bdf == device.bdf))
        };
        wait(patience, PACE, is_gone)?.then_some(()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the guest has not let go of it within {patience:?}"),
            )
        })
    }
}
