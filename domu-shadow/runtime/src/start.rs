//! What happens once per process: the log, the gate's registration, each API's preparation.

use std::io::{self, Write};
use std::sync::Once;
use std::time::SystemTime;

use env_logger::fmt::Formatter;
use log::Record;

use crate::gate::{self, Inside, Pass};
use crate::{fork, gpu_api, process_exit};

/// Environment variable with the log filter, in `env_logger`'s syntax. Warnings are shown by default.
pub const LOG_VARIABLE: &str = "XL_GPU_LOG";

/// Enters the gate: [`gate::enter`].
#[inline]
pub fn enter(pass: Pass) -> Option<Inside> {
    gate::enter(pass, first_call)
}

/// Prepares the process, the first time that any thread makes a call, and watches this thread's end.
fn first_call() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        start_log();
        gate::prepare();
        fork::prepare();
        gpu_api::all().for_each(|api| api.prepare());
    });
    process_exit::watch_thread();
}

/// The host program's own logger and its `RUST_LOG` stay out of it: this copy of `log` is private to the library.
fn start_log() {
    let filter = env_logger::Env::new().filter_or(LOG_VARIABLE, "warn");
    // A test binary may have installed one already; that one then serves.
    let _ = env_logger::Builder::from_env(filter)
        .format(line)
        .try_init();
}

/// env_logger's own way to tell the time brings all time zones into every program.
fn line(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let (level, target) = (record.level(), record.target());
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    writeln!(out, "[{now} {level:<5} {target}] {}", record.args())
}
