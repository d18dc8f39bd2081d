//! The shadow library for tests, in which the process moves itself there and back, again and again, while the program runs.
//!
//! [`STORM_ENV`] switches it on. The program's session then finds a loopback daemon in its own process instead of
//! dom0: a thread that captures the GPU state into private memory over the real channel, has the drivers unloaded
//! and loaded again, and serves the contents back. Any OpenCL program becomes a test of moves at any moment.
//!
//! | variable | value |
//! |---|---|
//! | `XL_GPU_STORM` | `ms=T`: a move T ms after the last one; `calls=N`: one at every N-th OpenCL call, which waits for it. After a comma `drain-ms=T`: how long commands may take to end before that move is given up (default 10000) |
//! | `XL_GPU_STORM_REPORT` | file for the figures, written at exit as one JSON object |
//!
//! A program that cannot be moved now, or does not come to rest, is counted and goes on. A state that could not be
//! restored for two minutes aborts the process, unless it lacks descriptors or address space: that is waited out.

mod daemon;
#[path = "../../preload/src/exports.rs"]
pub mod exports;
mod image;
mod pace;
mod report;

use std::path::PathBuf;

use channel::loopback::LoopbackListener;

/// Environment variable that switches the moves on.
pub const STORM_ENV: &str = "XL_GPU_STORM";

/// Environment variable with the report's file.
pub const REPORT_ENV: &str = "XL_GPU_STORM_REPORT";

runtime::at_load!(register);

fn register() {
    runtime::session::set_stress(start);
}

/// Starts to move where the environment asks for it; the socket at which the session will meet it.
fn start() -> Option<PathBuf> {
    let text = std::env::var_os(STORM_ENV).filter(|text| !text.is_empty())?;
    let stress = match pace::Stress::parse(&text.to_string_lossy()) {
        Ok(stress) => stress,
        Err(reason) => {
            log::warn!("{STORM_ENV}={text:?}: {reason}: no stress");
            return None;
        }
    };
    let path = std::env::temp_dir().join(format!("xl-gpu-stress-{}.sock", std::process::id()));
    let listener = match LoopbackListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            log::warn!("no stress: {}: {error}", path.display());
            return None;
        }
    };
    report::write_at_exit(std::env::var_os(REPORT_ENV).map(PathBuf::from));
    let socket = path.clone();
    let spawned = std::thread::Builder::new()
        .name("xl-gpu-stress".into())
        .spawn(move || {
            let accepted = listener.accept(daemon::PATIENCE);
            // The meeting place is for one session only.
            drop(std::fs::remove_file(&socket));
            match accepted {
                Ok(peer) => daemon::Daemon::new(peer, stress).run(),
                Err(error) => log::error!("no stress: {error}"),
            }
        });
    match spawned {
        Ok(_) => {
            stress.pace.begin();
            Some(path)
        }
        Err(error) => {
            drop(std::fs::remove_file(&path));
            log::warn!("no stress: {error}");
            None
        }
    }
}
