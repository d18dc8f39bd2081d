//! The daemon's answers, as JSON or as text for people.

pub mod diagnosis;
pub mod progress;
mod ram;
pub mod report;
pub mod status;

use protocol::control::Outcome;
use protocol::text::bytes;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};

/// Prints `value` as JSON, or as `text` shows it. A reader that has gone is no error.
pub fn print<T: Serialize>(
    value: &T,
    json: bool,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<()> {
    let mut shown = match json {
        true => serde_json::to_string_pretty(value)?,
        false => text(value),
    };
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    match std::io::stdout().write_all(shown.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// `xl-gpu request`.
pub fn outcome(outcome: &Outcome) -> String {
    let mut out = format!("{} sessions, {}", outcome.sessions, bytes(outcome.bytes));
    if outcome.blackout_ns > 0 {
        let seconds = outcome.blackout_ns as f64 / 1e9;
        let _ = write!(out, ", GPU calls waited {seconds:.3} s");
    }
    out
}
