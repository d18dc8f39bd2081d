//! What a session announces about this process.

use std::sync::Arc;

use super::engine::root_buffers;
use crate::core::handle;
use crate::core::movable;
use crate::core::platform::{self, Platform};
use crate::core::queue::Queue;

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
}

/// The state now. Cheap: no driver is asked, and none is loaded.
pub fn summary() -> Summary {
    let program = std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let platforms = platform::known();
    let devices = |platform: &Arc<Platform>| {
        platform
            .devices()
            .into_iter()
            .map(|device| device.name.clone())
    };
    let buffers = root_buffers();
    Summary {
        program,
        platforms: platforms
            .iter()
            .map(|platform| platform.name.clone())
            .collect(),
        devices: platforms.iter().flat_map(devices).collect(),
        blocked: movable::blocked(),
        buffers: buffers.len() as u64,
        bytes: buffers.iter().map(|mem| mem.size as u64).sum(),
        queues: handle::all::<Queue>().len() as u64,
    }
}
