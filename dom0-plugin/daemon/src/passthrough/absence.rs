//! Why a guest does not use a device that is assigned to it.

use std::fmt;

/// What is between a guest and its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// A paravirtual guest's pcifront has not connected.
    NotTaken,
    /// An HVM guest does not have it on its bus.
    Unseen { device: String },
    /// An HVM guest has it on its bus, and no room for its memory.
    NoRoom { device: String, bytes: u64 },
    /// No session of an HVM guest tells, and by its device model it has not switched the device on.
    Unmapped { device: String },
    /// libxl lists it, and the device model does not have it.
    Stale { device: String },
    /// It is on an HVM guest's bus, and the driver that had it does not have it yet.
    Unbound { device: String, driver: String },
}

impl Absence {
    /// Whether the guest has it all the same: the rest is its driver's.
    pub fn is_on_bus(&self) -> bool {
        matches!(self, Absence::Unbound { .. })
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Absence::NotTaken => {
                "load xen-pcifront in the guest, and look into its kernel's log".into()
            }
            Absence::Unseen { .. } => {
                "in the guest, as root: echo 1 >/sys/bus/pci/rescan; its kernel needs ACPI's hotplug (CONFIG_HOTPLUG_PCI_ACPI)".into()
            }
            Absence::NoRoom { .. } => {
                "its kernel's log says `can't assign`: firmware opens a large window only where such a device is there at boot; \
                 create the domain with the device in pci=[…]"
                    .into()
            }
            Absence::Unmapped { .. } => "load the device's driver in the guest, and look into its kernel's log".into(),
            Absence::Stale { device } => format!("xl pci-detach -f DOMAIN {device}, then xl pci-attach"),
            Absence::Unbound { driver, .. } => format!("look into the guest's kernel log for what {driver} says of it"),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absence::NotTaken => f.write_str("the guest has not taken its PCI devices"),
            Absence::Unseen { device } => {
                write!(f, "the guest does not see PCI device {device} on its bus")
            }
            Absence::NoRoom { device, bytes } => write!(
                f,
                "the guest sees PCI device {device} and has no room for its memory ({})",
                protocol::text::bytes(*bytes)
            ),
            Absence::Unmapped { device } => {
                write!(f, "the guest has not switched PCI device {device} on")
            }
            Absence::Stale { device } => write!(
                f,
                "PCI device {device} is listed and the guest's device model does not have it"
            ),
            Absence::Unbound { device, driver } => write!(
                f,
                "the guest's driver {driver} has not taken PCI device {device}"
            ),
        }
    }
}
