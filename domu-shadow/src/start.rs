//! What happens once per process: the gate's registration, the handle region, the log.

use std::io::{self, Write};
use std::sync::Once;
use std::time::SystemTime;

use env_logger::fmt::Formatter;
use log::Record;

/// Environment variable with the log filter, in `env_logger`'s syntax. Warnings are shown by default.
pub const LOG_VARIABLE: &str = "XL_GPU_LOG";

/// Prepares the process, the first time that a thread makes an API call.
pub fn once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        start_log();
        crate::gate::prepare();
        crate::fork::prepare();
        crate::core::handle::prepare();
    });
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
