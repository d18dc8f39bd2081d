//! How a guest of each kind meets its devices.

use super::absence::Absence;
use super::device::Device;
use super::error::DeviceProblem;
use super::hvm::{HvmGuest, Pulsed};
use super::kind::GuestKind;
use super::pv::PvGuest;
use super::toolstack::Toolstack;
use crate::carrier::Carrier;
use channel::image::SessionId;
use std::io;
use std::time::Duration;

/// A guest, by its kind.
pub enum Guest<'a> {
    Pv(PvGuest<'a>),
    /// It has no devices.
    Pvh(u32),
    Hvm(HvmGuest<'a>),
}

impl<'a> Guest<'a> {
    /// Of domain `domid`. `asked`: the session to ask what it sees; all if `None`.
    pub fn of(
        domid: u32,
        carrier: &'a dyn Carrier,
        toolstack: &'a dyn Toolstack,
        asked: Option<SessionId>,
        pulsed: &'a Pulsed,
        is_leaving: bool,
    ) -> io::Result<Self> {
        Ok(match toolstack.kind(domid)? {
            GuestKind::Pv => Guest::Pv(PvGuest { domid, toolstack }),
            GuestKind::Pvh => Guest::Pvh(domid),
            GuestKind::Hvm => Guest::Hvm(HvmGuest {
                domid,
                carrier,
                toolstack,
                asked,
                pulsed,
                is_leaving,
            }),
        })
    }

    /// Its domain.
    pub fn domid(&self) -> u32 {
        match self {
            Guest::Pv(guest) => guest.domid,
            Guest::Pvh(domid) => *domid,
            Guest::Hvm(guest) => guest.domid,
        }
    }

    /// Wakes it if it does not see one of `devices`, which may have been plugged before it ran; whether it sees them all.
    pub fn wake_if_unseen(&self, devices: &[Device]) -> io::Result<bool> {
        match self {
            Guest::Hvm(guest) => guest.wake_if_unseen(devices),
            // pcifront is woken for whoever waits for it.
            Guest::Pv(_) | Guest::Pvh(_) => Ok(true),
        }
    }

    /// Why it does not use one of `devices`, which are assigned to it; `None` where it has them all.
    pub fn absence(&self, devices: &[Device]) -> io::Result<Option<Absence>> {
        match self {
            Guest::Pv(guest) => guest.absence(),
            Guest::Pvh(_) => Ok(None),
            Guest::Hvm(guest) => guest.diagnosis(devices),
        }
    }

    /// Waits until it has `devices`; whether that was needed. `slept`: they may have come before it ran.
    pub fn connect(
        &self,
        devices: &[Device],
        slept: bool,
        patience: Duration,
    ) -> Result<bool, DeviceProblem> {
        match self {
            Guest::Pv(guest) => guest.connect(slept, patience),
            Guest::Pvh(_) => Ok(false),
            Guest::Hvm(guest) => guest.connect(devices, slept, patience),
        }
    }

    /// Takes a device away, and waits until it has gone.
    pub fn detach(&self, device: &Device, patience: Duration) -> io::Result<()> {
        match self {
            Guest::Pv(guest) => guest.detach(device, patience),
            Guest::Pvh(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "how a PVH guest gives a device up is not known to this xl-gpud",
            )),
            Guest::Hvm(guest) => guest.detach(device, patience),
        }
    }

    /// Those of `listed` that have left it without libxl's notice, and do so for `grace`.
    pub fn stale(&self, listed: &[Device], grace: Duration) -> Vec<Device> {
        match self {
            Guest::Hvm(guest) => guest.stale(listed, grace),
            Guest::Pv(guest) => guest.stale(listed),
            Guest::Pvh(_) => Vec::new(),
        }
    }

    /// Those of `unlisted` that its device model has all the same. An error where that cannot be told.
    pub fn ghosts(&self, unlisted: &[Device]) -> io::Result<Vec<Device>> {
        match self {
            Guest::Hvm(guest) => guest.ghosts(unlisted),
            _ => Ok(Vec::new()),
        }
    }

    /// Unplugs one of those.
    pub fn unplug(&self, device: &Device, patience: Duration) -> io::Result<()> {
        match self {
            Guest::Hvm(guest) => guest.unplug(device, patience),
            _ => Ok(()),
        }
    }

    /// Takes a device that has left off libxl's list.
    pub fn strike(&self, device: &Device) -> io::Result<()> {
        match self {
            Guest::Hvm(guest) => guest.strike(device),
            Guest::Pv(guest) => guest.strike(device),
            Guest::Pvh(_) => Ok(()),
        }
    }

    /// It was just given a device: what it missed before does not count.
    pub fn was_given(&self) {
        if let Guest::Hvm(guest) = self {
            guest.has_found();
        }
    }
}
