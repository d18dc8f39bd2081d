//! Why a device of this host cannot be given to a guest.

use super::device::Device;
use super::toolstack::{InDom0, Toolstack};
use std::fmt;

/// What is wrong with a device, as dom0 sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// dom0's kernel does not know it.
    Missing,
    /// Its configuration space reads as ones.
    Dead,
    /// Another domain has it.
    Elsewhere(u32),
    /// A driver of dom0's has it.
    Driver(String),
    /// libxl's backend has not come so far: its guest, or an earlier detach, hangs.
    NotReady,
    /// The domain has no IOMMU context.
    NotBuilt,
    /// It can be given, as far as can be seen; whether dom0 can reset it.
    Sound { resets: bool },
}

/// Of a device that is to go to domain `domid`; `said`: the toolstack's words where it has failed to give it.
pub fn verdict(toolstack: &dyn Toolstack, domid: u32, device: &Device, said: &str) -> Verdict {
    let seen = toolstack.in_dom0(device);
    let owner = toolstack.owner(device).ok().flatten();
    match (seen, owner) {
        (InDom0 { exists: false, .. }, _) => Verdict::Missing,
        (InDom0 { is_dead: true, .. }, _) => Verdict::Dead,
        (_, Some(other)) if other != domid => Verdict::Elsewhere(other),
        (
            InDom0 {
                driver: Some(d), ..
            },
            _,
        ) if d != "pciback" => Verdict::Driver(d),
        _ if said.contains("Operation not supported") => Verdict::NotBuilt,
        _ if said.contains("not ready") => Verdict::NotReady,
        (InDom0 { resets, .. }, _) => Verdict::Sound { resets },
    }
}

/// As the end of a sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Missing => f.write_str(
                "this host has no such device (any more); look into dom0's kernel log, lspci",
            ),
            Verdict::Dead => f.write_str(
                "its configuration space reads as ones: it has fallen off the bus or did not come out of its reset; \
                 reset the slot, or restart the host",
            ),
            Verdict::Elsewhere(domid) => write!(
                f,
                "domain {domid} has it; xl pci-detach it there, or give this domain another"
            ),
            Verdict::Driver(driver) => {
                write!(f, "dom0's driver {driver} has it; xl pci-assignable-add")
            }
            Verdict::NotReady => f.write_str(
                "its backend hangs in an earlier attach or detach; xl pci-list shows what libxl believes, xl pci-detach -f ends it",
            ),
            Verdict::NotBuilt => f.write_str(
                "was the domain built for passthrough? A configuration without pci=[…] needs the line passthrough=\"enabled\"",
            ),
            Verdict::Sound { resets: true } => {
                f.write_str("xl pci-assignable-list shows what can be attached")
            }
            Verdict::Sound { resets: false } => f.write_str(
                "dom0 cannot reset it; xl pci-assignable-list shows what can be attached",
            ),
        }
    }
}
