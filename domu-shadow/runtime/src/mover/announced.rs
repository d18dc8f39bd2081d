//! What a session announces about this process.

use super::summary::Summary;
use channel::image::Api;
use channel::link::LeftToDriver;

use crate::blocked;
use crate::gpu_api::{self, GpuApi};
use crate::vendor::foreign;

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    blocked::reason()
        .or_else(|| gpu_api::all().find_map(|api| api.blocked()))
        .or_else(foreign::reason)
}

/// Devices of all platforms that the program has seen.
pub fn devices() -> Vec<(Api, String)> {
    let of = |api: &dyn GpuApi| {
        let mut summary = Summary::default();
        api.summarize(&mut summary);
        let (api, devices) = (api.api(), summary.devices.into_iter());
        devices.map(move |name| (api, name)).collect::<Vec<_>>()
    };
    gpu_api::all().flat_map(of).collect()
}

/// What is left to drivers' own checkpoints now, of all APIs.
pub fn left_to_driver() -> LeftToDriver {
    let all = gpu_api::all().map(|api| api.left_to_driver());
    all.fold(LeftToDriver::default(), LeftToDriver::and)
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
        left: left_to_driver(),
        ..Summary::default()
    };
    gpu_api::all().for_each(|api| api.summarize(&mut summary));
    summary
}
