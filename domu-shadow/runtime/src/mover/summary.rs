//! What a session announces about this process.

use super::reasons::blocked;
use crate::gpu_api;

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
    let mut summary = Summary {
        program,
        blocked: blocked(),
        ..Summary::default()
    };
    gpu_api::all().for_each(|api| api.summarize(&mut summary));
    summary
}
