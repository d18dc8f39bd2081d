//! The daemon's answers, as JSON or as text for people.

pub mod diagnosis;
pub mod history;
pub mod page;
pub mod part;
pub mod progress;
mod ram;
pub mod report;
pub mod status;
pub mod style;

use page::Width;
use protocol::control::Outcome;
use protocol::text::{bytes, span};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};

/// Prints `value` as JSON, or as `text` shows it.
pub fn print<T: Serialize>(
    value: &T,
    json: bool,
    text: impl Fn(&T, Width) -> String,
) -> anyhow::Result<()> {
    print_text(&match json {
        true => serde_json::to_string_pretty(value)?,
        false => text(value, Width::of_stdout()),
    })
}

/// Prints it: in colours on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`. A reader that has gone is no error.
pub fn print_text(text: &str) -> anyhow::Result<()> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(anstream::stdout(), "{text}{end}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// `xl-gpu request`.
pub fn outcome(outcome: &Outcome) -> String {
    let mut out = format!("{} sessions, {}", outcome.sessions, bytes(outcome.bytes));
    if outcome.blackout_ns > 0 {
        let seconds = outcome.blackout_ns as f64 / 1e9;
        let _ = write!(out, ", GPU calls waited {}", span(seconds));
    }
    out
}
