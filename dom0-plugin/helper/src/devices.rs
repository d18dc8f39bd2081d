//! Where the PCI devices of a domain are while it is saved.

/// PCI devices of a domain that is being saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    None,
    /// Assigned, in use.
    Assigned,
    /// Detached, and the GPU state is in the stream.
    Away,
    /// They could not be sent away: nothing that needs them gone may be done.
    Stuck,
}

impl Devices {
    /// Of a domain with `assigned` devices.
    pub fn new(assigned: u32) -> Self {
        match assigned {
            0 => Devices::None,
            _ => Devices::Assigned,
        }
    }
}
