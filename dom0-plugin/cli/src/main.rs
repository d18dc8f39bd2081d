//! `xl-gpu`: the command line.

mod arguments;
mod client;
mod show;
mod show_ram;
mod watch;

use arguments::{Arguments, run};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A reader that has seen enough (`xl-gpu status | head`) ends this program quietly.
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("xl-gpu: {e:#}");
            ExitCode::FAILURE
        }
    }
}
