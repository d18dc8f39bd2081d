//! The process's GPU state in a few words.

use channel::link::LeftToDriver;

/// The process's GPU state in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The program's file name.
    pub program: String,
    pub platforms: Vec<String>,
    /// Devices of those platforms.
    pub devices: Vec<String>,
    /// Why the process cannot be moved, if so.
    pub blocked: Option<String>,
    /// Root buffers.
    pub buffers: u64,
    /// Bytes in them.
    pub bytes: u64,
    pub queues: u64,
    /// What APIs leave to their drivers' own checkpoints.
    pub left: LeftToDriver,
}
