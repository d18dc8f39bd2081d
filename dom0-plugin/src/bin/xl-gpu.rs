//! `xl-gpu`: the command line.

use clap::Parser;
use std::process::ExitCode;
use xl_gpu_plugin::cli::{Arguments, run};

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
