//! Why a domain's PCI devices could not be detached or attached.

use super::absence::Absence;
use super::holders;
use super::verdict::Verdict;
use channel::bus::Module;
use std::io;
use std::time::Duration;

/// Something went wrong with the devices of domain `domid`.
#[derive(Debug, thiserror::Error)]
#[error("domain {domid}: {problem}")]
pub struct DeviceError {
    pub domid: u32,
    #[source]
    pub problem: DeviceProblem,
}

/// What can go wrong with devices.
#[derive(Debug, thiserror::Error)]
pub enum DeviceProblem {
    #[error("its PCI devices cannot be read: {0}")]
    Unread(#[source] io::Error),
    #[error("its PCI devices cannot be noted: {0}")]
    Unnoted(#[source] io::Error),
    #[error("its PCI devices: {0}")]
    Link(#[source] io::Error),
    #[error("PCI device {device} was not detached: {error}")]
    NotDetached { device: String, error: io::Error },
    #[error("PCI device {device} was not attached: {error}; {verdict}")]
    NotAttached {
        device: String,
        error: io::Error,
        verdict: Verdict,
    },
    #[error(
        "{absence} within {patience:?}: {}; the programs' images are kept, and xl-gpu request attach tries again",
        .absence.remedy()
    )]
    NotFound {
        absence: Absence,
        patience: Duration,
    },
    #[error("the guest would not give its PCI devices up, something uses their driver: {}; {}", holders::names(.0), holders::remedy(.0))]
    InUse(Vec<Module>),
    #[error(
        "xl has been at work with its PCI devices for {0:?} (pci-attach, pci-detach); they are looked after when it has ended"
    )]
    AtWork(Duration),
    #[error(
        "the guest's device model has PCI device {device}, libxl does not list it, and it cannot be unplugged: {error}; \
         it leaves when the guest's driver gives it up, or when the guest is shut down"
    )]
    Ghost { device: String, error: io::Error },
    #[error("{setting}: {error}")]
    Hook {
        setting: &'static str,
        error: io::Error,
    },
}

impl DeviceProblem {
    /// Of domain `domid`.
    pub fn of(self, domid: u32) -> DeviceError {
        DeviceError {
            domid,
            problem: self,
        }
    }
}
