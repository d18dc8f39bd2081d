//! `xl-gpu`: the command line.
//!
//! | module | purpose |
//! |---|---|
//! | [`arguments`] | what can be asked, and doing it |
//! | [`client`] | the daemon's socket |
//! | [`show`] | answers as text or JSON |
//! | [`watch`] | `status --watch` |

mod arguments;
mod client;
mod show;
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
