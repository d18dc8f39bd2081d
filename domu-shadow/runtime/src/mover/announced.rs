//! What a session announces about this process.

use super::summary::Summary;
use crate::vendor::foreign;
use crate::{blocked, gpu_api};

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    blocked::reason()
        .or_else(|| gpu_api::all().find_map(|api| api.blocked()))
        .or_else(foreign::reason)
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
