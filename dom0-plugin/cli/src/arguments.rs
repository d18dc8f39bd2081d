//! The command line: one definition gives the parsing, `-h` and `--help`.

use crate::client::Client;
use crate::{show, watch};
use anyhow::Context;
use channel::image::SessionId;
use clap::{Args, Parser, Subcommand};
use protocol::control::{Control, Forgotten, Order, Outcome, Request};
use protocol::conversation::{Done, SOCKET, SOCKET_VARIABLE};
use protocol::diagnosis::Diagnosis;
use protocol::report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows and steers the GPU sessions of Xen guests.
///
/// A program in a guest that runs with the shadow library announces a session; `xl migrate`, `xl save` and
/// `xl restore` carry its GPU state along. This command asks the daemon xl-gpud, which must be running.
#[derive(Debug, Parser)]
#[command(name = "xl-gpu", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Socket of xl-gpud
    #[arg(long, global = true, value_name = "PATH", env = SOCKET_VARIABLE, default_value = SOCKET)]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show sessions, their programs, what cannot be moved and why
    Status {
        /// Name or number of a domain; without it all are shown
        domain: Option<String>,
        /// Go on showing what migrations are at: a display on a terminal, else a line for each change
        #[arg(long)]
        watch: bool,
        /// Everything, as JSON; one object a line with --watch
        #[arg(long)]
        json: bool,
    },
    /// Show what the last migration of a domain cost, as this host saw it
    Report {
        /// Name or number of the domain; may be left out where only one has GPU sessions
        domain: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a domain could not migrate now, and what to do about each reason
    ///
    /// Looks at its sessions and opens them, at its PCI devices, the spool and the toolstack; nothing is stopped for it. Every
    /// migration looks at the same things before it begins. The exit status is 0 if it could migrate, 2 if it could
    /// not, 1 if that could not be found out.
    Doctor {
        /// Name or number of the domain
        domain: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Detach or attach all GPU sessions of a domain, or make a checkpoint of them
    ///
    /// `detach` captures the programs' GPU state into dom0's spool and unloads the driver: the GPU is free, GPU calls
    /// wait. `attach` gives the state back. `checkpoint` captures, and the programs go on.
    ///
    /// The same as writing to /local/domain/<id>/control/gpu-migration/request in XenStore; this waits for the end.
    Request {
        /// checkpoint, detach or attach
        #[arg(value_parser = parse_request)]
        request: Request,
        /// Name or number of the domain; may be left out where only one has GPU sessions
        domain: Option<String>,
    },
    /// Keep a migration in pre-copy: rounds go on, the programs are not stopped, until `release` or `force`
    Hold(OneDomain),
    /// End a hold: the policy decides again when the programs are stopped
    Release(OneDomain),
    /// Have a migration stop the programs now, whatever blackout is predicted
    ///
    /// A round that is under way is finished first: what it sends would have to be sent with the programs stopped.
    Force(OneDomain),
    /// Give a migration up: `xl migrate` fails, and the programs go on where they are
    ///
    /// Works in the middle of a round, and until the guest is suspended. While memory is being copied it takes effect at the end
    /// of that pass.
    Abort(OneDomain),
    /// Move sessions out of and into this host, through real migration records, without Xen's help
    ///
    /// Pre-copy rounds, stop-and-copy, unload, and the restore from what came out at the other end: everything of a
    /// migration but the domain. Shows whether a program can be moved, and what that will cost.
    MigrateLoopback {
        /// Name or number of the domain; may be left out where only one has GPU sessions
        domain: Option<String>,
        /// One session instead of all
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
        /// The report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what a dead process left behind, and the images kept for it
    ///
    /// A process that is killed cannot take its session back; until another session in the guest notices, or this
    /// command is used, migrations of its domain are refused.
    Forget {
        /// Name or number of the domain
        domain: String,
        /// The session's id, as `xl-gpu status` shows it
        session: SessionId,
    },
    /// Look into the GPU records of an `xl save` file; the daemon is not needed
    #[command(subcommand)]
    Stream(StreamCommand),
}

#[derive(Debug, Args)]
struct OneDomain {
    /// Name or number of the domain; may be left out where only one has GPU sessions
    domain: Option<String>,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    /// Check every GPU record, checksum and total of a saved domain
    Verify {
        /// An `xl save` file, or a recorded migration stream; `-` for standard input
        file: PathBuf,
        /// The findings as JSON
        #[arg(long)]
        json: bool,
    },
}

fn parse_request(text: &str) -> anyhow::Result<Request> {
    Request::parse(text).context("expected checkpoint, detach or attach")
}

/// Exit status of `xl-gpu doctor` for a domain that could not migrate.
const CANNOT_MIGRATE: u8 = 2;

/// Does what was asked for.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connect = || Client::connect(&arguments.socket);
    match arguments.command {
        Command::Stream(StreamCommand::Verify { file, json }) => return verify(&file, json),
        Command::Status {
            domain,
            watch,
            json,
        } => {
            let mut client = connect()?;
            let mut ask = || client.status(domain.as_deref());
            match watch {
                true => watch::watch(json, ask)?,
                false => show::print(&ask()?, json, show::status::text)?,
            }
        }
        Command::Report { domain, json } => {
            let mut client = connect()?;
            let domid = client.find(domain.as_deref())?;
            let report: Report = client.ask(&Control::Report { domid })?;
            show::print(&report, json, show::report::text)?;
        }
        Command::Doctor { domain, json } => {
            let save_helper = std::env::var("LIBXL_SAVE_HELPER");
            let save_helper = save_helper.ok().filter(|path| !path.is_empty());
            let diagnosis: Diagnosis = connect()?.ask(&Control::Doctor {
                domain,
                save_helper,
            })?;
            show::print(&diagnosis, json, show::diagnosis::text)?;
            if !diagnosis.can_migrate {
                return Ok(ExitCode::from(CANNOT_MIGRATE));
            }
        }
        Command::Request { domain, request } => {
            let mut client = connect()?;
            let domid = client.find(domain.as_deref())?;
            let outcome: Outcome = client.ask(&Control::Request { domid, request })?;
            show::print(&outcome, false, show::outcome)?;
        }
        Command::Hold(one) => steer(connect()?, one, Order::Hold)?,
        Command::Release(one) => steer(connect()?, one, Order::Release)?,
        Command::Force(one) => steer(connect()?, one, Order::Force)?,
        Command::Abort(one) => steer(connect()?, one, Order::Abort)?,
        Command::MigrateLoopback {
            domain,
            session,
            json,
        } => {
            let mut client = connect()?;
            let domid = client.find(domain.as_deref())?;
            let report: Report = client.ask(&Control::MigrateLoopback { domid, session })?;
            show::print(&report, json, show::report::text)?;
        }
        Command::Forget { domain, session } => {
            let mut client = connect()?;
            let domid = client.find(Some(&domain))?;
            client.ask::<Forgotten>(&Control::Forget { domid, session })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn steer(mut client: Client, one: OneDomain, order: Order) -> anyhow::Result<()> {
    let domid = client.find(one.domain.as_deref())?;
    client
        .ask::<Done>(&Control::Steer { domid, order })
        .map(drop)
}

fn verify(file: &std::path::Path, json: bool) -> anyhow::Result<ExitCode> {
    let verified = if file == std::path::Path::new("-") {
        stream::verify::verify(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
        stream::verify::verify(std::io::BufReader::with_capacity(1 << 20, opened))
    };
    let report = verified.with_context(|| format!("{}: not a sound stream", file.display()))?;
    show::print(&report, json, ToString::to_string)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn requests_are_words() {
        let parsed = Arguments::try_parse_from(["xl-gpu", "request", "detach", "web"]);
        assert!(matches!(
            parsed.unwrap().command,
            Command::Request { domain: Some(d), request: Request::Detach } if d == "web"
        ));
        assert!(Arguments::try_parse_from(["xl-gpu", "request", "destroy", "web"]).is_err());
    }
}
