//! `xl-gpu`: the command line.
//!
//! | module | purpose |
//! |---|---|
//! | [`arguments`] | what can be asked |
//! | [`commands`] | doing it |
//! | [`exit`] | how that ends |
//! | [`client`] | the daemon's socket |
//! | [`show`] | answers as text or JSON |
//! | [`timeline`] | a report as a drawing |
//! | [`watch`] | `status --watch` |
//! | [`bundle`] | a bug report |
//! | [`generate`] | manual pages and completions |

mod arguments;
mod bundle;
mod client;
mod commands;
mod exit;
mod generate;
mod show;
mod timeline;
mod watch;

use arguments::Arguments;
use clap::Parser;
use exit::Exit;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // Help and version are such errors, too.
            let _ = e.print();
            return match e.use_stderr() {
                true => Exit::Usage.into(),
                false => Exit::Done.into(),
            };
        }
    };
    // A reader that has seen enough (`xl-gpu status | head`) ends this program quietly.
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(e) => {
            anstream::eprintln!("xl-gpu: {e:#}");
            Exit::Failed.into()
        }
    }
}
