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
            false => Err(DeviceProblem::NotFound {
                absence: Absence::NotTaken,
                patience,
            }),
        }
    }

    /// Those of `listed` that it has given up without libxl's notice.
    pub fn stale(&self, listed: &[Device]) -> Vec<Device> {
        let mut stale = listed.to_vec();
        stale.retain(|device| {
            let has_let_go = self.toolstack.has_let_go(self.domid, device);
            let unread = |e: &io::Error| log::warn!("domain {}: {e}", self.domid);
            has_let_go.inspect_err(unread).unwrap_or(false)
        });
        stale
    }

    /// Takes one of those off libxl's list.
    pub fn strike(&self, device: &Device) -> io::Result<()> {
        self.toolstack.drop_stale(self.domid, device)?;
        match self.is_listed(device)? {
            false => Ok(()),
            true => Err(io::Error::other(
                "the guest has given it up, and libxl does not strike it off its list",
            )),
        }
    }

    fn is_listed(&self, device: &Device) -> io::Result<bool> {
        let listed = self.toolstack.assigned(self.domid)?;
        Ok(listed.iter().any(|d| d.bdf == device.bdf))
    }

    /// Takes a device away. `xl pci-detach` reports success also where the guest has not answered.
    pub fn detach(&self, device: &Device, patience: Duration) -> io::Result<()> {
        self.toolstack.detach(self.domid, device)?;
        let is_gone = || Ok(!self.is_listed(device)?);
        wait(patience, PACE, is_gone)?.then_some(()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the guest has not let go of it within {patience:?}"),
            )
        })
    }
}
