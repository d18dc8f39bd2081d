//! Why a domain's PCI devices could not be detached or attached.

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
    #[error("PCI device {device} was not attached: {error}{}", advice(.error))]
    NotAttached { device: String, error: io::Error },
    #[error(
        "the guest has not taken its PCI devices within {0:?}; is the module xen-pcifront loaded there?"
    )]
    NotTaken(Duration),
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

fn advice(e: &io::Error) -> &'static str {
    match e.to_string().contains("Operation not supported") {
        true => {
            "; was the domain built for passthrough? A configuration without pci=[…] needs the line passthrough=\"enabled\""
        }
        false => "; xl pci-assignable-list shows what can be attached",
    }
}
