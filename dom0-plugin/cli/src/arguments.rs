//! The command line: one definition gives the parsing, `-h` and `--help`, the manual page and the completions.

use anyhow::Context;
use channel::image::SessionId;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use protocol::control::Request;
use protocol::conversation::{SOCKET, SOCKET_VARIABLE};
use std::path::PathBuf;

/// Shows and steers the GPU sessions of Xen guests.
///
/// A program in a guest that runs with the shadow library announces a session; `xl migrate`, `xl save` and
/// `xl restore` carry its GPU state along. This command asks the daemon xl-gpud, which must be running.
///
/// DOMAIN is a name or a number. Where it is in brackets, it may be left out if only one domain has GPU sessions.
#[derive(Debug, Parser)]
#[command(name = "xl-gpu", version = version::VERSION, arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Socket of xl-gpud
    #[arg(long, global = true, value_name = "PATH", env = SOCKET_VARIABLE, default_value = SOCKET)]
    pub socket: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show sessions, their programs, and what cannot be moved
    ///
    /// Shows for each domain what is going on, its sessions with what is left to the driver's own checkpoint, its
    /// images in the spool, and how the last request and the last migration ended.
    ///
    /// With `--watch` it shows the progress of migrations: round, bytes, those of them that travelled as references to equal
    /// ones, zeros, rate, what is left to the driver, the blackout that is predicted if the programs were stopped now, and
    /// the time until the budget can be reached.
    Status {
        /// Without it all are shown
        domain: Option<String>,
        /// Go on showing what migrations are at: a display on a terminal, else a line for each change
        #[arg(long)]
        watch: bool,
        /// Everything, as JSON; one object a line with --watch
        #[arg(long)]
        json: bool,
    },
    /// Show or draw what a domain's last migration cost
    ///
    /// Each host shows what it saw. The source knows each pre-copy round, why pre-copy ended, the blackout that was predicted then, and how long each
    /// part of the stop took. The destination knows how long the programs' calls were blocked, for how much of that the
    /// VCPUs were paused, and how long the arrival took. The parts of the arrival and "elsewhere and in between" add up to
    /// the blackout.
    /// If several programs move, the figures are those of the one that waited longest.
    ///
    /// A clock of dom0 measures the parts. The program's own clock measures the blackout, and follows the other host's
    /// clock after the move. So the two ends agree as well as the hosts' clocks do.
    ///
    /// If PCI devices were detached, it describes the domain's memory as well: each pass before the detach, what was found unchanged,
    /// what was sent after the detach, and the time from the detach to the suspend.
    Report {
        /// May be left out where only one has GPU sessions
        domain: Option<String>,
        /// As JSON
        #[arg(long, conflicts_with_all = ["svg", "bundle"])]
        json: bool,
        /// Draw it into a file: when rounds and passes were sent, how fast, and what the blackout consisted of
        #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
        svg: Option<PathBuf>,
        /// Pack a bug report: versions, configuration, status, what doctor finds, reports, history and the daemon's log
        ///
        /// It holds names of domains and programs, and nothing of guests' memory or GPU contents. What cannot be had is
        /// left out; the daemon need not run.
        #[arg(long, conflicts_with = "domain")]
        bundle: bool,
        /// Where to put it [default: xl-gpu-report-DATE.tar.gz in this folder]
        #[arg(long, value_name = "FILE", requires = "bundle")]
        output: Option<PathBuf>,
    },
    /// Show how the last migrations ended
    ///
    /// Those of one domain, or of all. Each host keeps 32 of each domain, by its name and UUID, over restarts. Failures and refusals are among them,
    /// with the reason.
    History {
        /// Name, UUID or number
        domain: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a domain cannot move, or what this host lacks
    ///
    /// Without DOMAIN it looks at this host: the daemon, the hypervisor, the save helper of each Xen, IOMMU and pciback, XenStore's
    /// quota, room in the spool. The daemon need not run for that.
    ///
    /// With one it looks at its sessions and opens them, at its PCI devices, the spool and the toolstack; nothing is stopped for it. Every
    /// migration and save begins with the same checks, and the first error refuses it before anything is detached or
    /// suspended. The environment of the `xl` to come is the one thing that cannot be known: `LIBXL_SAVE_HELPER` is looked at
    /// as it is set here.
    ///
    /// Each finding is an error (a migration is refused), a warning or a note. It says what it is about, what was found, and
    /// what to do. The word in brackets is its code, which stays the same over versions and is a heading of
    /// docs/troubleshooting.md.
    Doctor {
        /// Name or number; without it this host is looked at
        domain: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say whether xl-gpud could be restarted now
    ///
    /// The exit status is 0 then, and 3 while it works for a guest.
    ///
    /// A restart ends a migration that is under way; what is kept for guests stays. Packages go by this.
    Idle {
        /// Whether it could be removed: nothing is kept for guests
        #[arg(long)]
        removal: bool,
    },
    /// Detach, attach or checkpoint a domain's sessions by hand
    ///
    /// `detach` captures the programs' GPU state into dom0's spool and unloads the driver: the GPU is free, GPU calls
    /// wait. `attach` gives the state back. `checkpoint` captures, and the programs go on.
    ///
    /// The same as writing to /local/domain/ID/control/gpu-migration/request in XenStore; this waits for the end.
    Request {
        /// What to do
        #[arg(value_parser = request_parser())]
        request: Request,
        /// May be left out where only one has GPU sessions
        domain: Option<String>,
    },
    /// Keep a migration in pre-copy until `release` or `force`
    ///
    /// The programs are not stopped. Rounds of the GPU (two a second at most) and of memory go on. Limits do not end a hold; `release`, `force` and
    /// `abort` do.
    Hold(OneDomain),
    /// End a hold
    ///
    /// The policy decides again when the programs are stopped.
    Release(OneDomain),
    /// Have a migration stop the programs now
    ///
    /// Whatever blackout is predicted. Ends pre-copy of the GPU and of the guest's memory. A round that is under way is finished first: what it sends would
    /// have to be sent with the programs stopped.
    Force(OneDomain),
    /// Give a migration up; the programs go on where they are
    ///
    /// `xl migrate` fails. Works in the middle of a round, and until the guest is suspended. While memory is being copied it takes effect at the end
    /// of that pass.
    Abort(OneDomain),
    /// Try a move within this host, without moving the domain
    ///
    /// Real migration records go out of the daemon and into it: pre-copy rounds, stop-and-copy, unload, and the restore from what came out at the other end: everything of a
    /// migration but the domain. Shows whether a program can be moved, and what that will cost. Its calls are blocked
    /// meanwhile, as in a migration.
    MigrateLoopback {
        /// May be left out where only one has GPU sessions
        domain: Option<String>,
        /// One session instead of all
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
        /// The report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what a dead process left, and its images
    ///
    /// xl-gpud does that by itself when it looks at the domain and sees that the process has gone. It cannot see that of a
    /// session whose guest had no grant left for it: migrations are then refused until another session starts in the guest,
    /// or this command is used.
    Forget {
        /// Name or number
        domain: String,
        /// The session's id, as `xl-gpu status` shows it
        session: SessionId,
    },
    /// Look into the GPU records of an `xl save` file
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Write manual pages or completions, for packages
    #[command(subcommand, hide = true)]
    Generate(GenerateCommand),
}

#[derive(Debug, Args)]
pub struct OneDomain {
    /// May be left out where only one has GPU sessions
    pub domain: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// Check GPU records, checksums and totals of a saved domain
    ///
    /// The daemon is not needed. Shows what each GPU API has in it, and for each round what was sent, what was zero and what travelled by reference.
    Verify {
        /// An `xl save` file, or a recorded migration stream; `-` for standard input
        file: PathBuf,
        /// The findings as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Manual pages, as man(1) reads them
    Man {
        /// Folder, which is made if need be
        folder: PathBuf,
    },
    /// Completions: `xl-gpu` for bash, `_xl-gpu` for zsh, `xl-gpu.fish` for fish
    Completions {
        /// Folder, which is made if need be
        folder: PathBuf,
    },
    /// docs/xl-gpu.8.md
    Markdown,
}

fn request_parser() -> impl TypedValueParser<Value = Request> {
    let words = PossibleValuesParser::new(["checkpoint", "detach", "attach"]);
    words.try_map(|word| Request::parse(&word).context("expected checkpoint, detach or attach"))
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

    /// `xl-gpu help` fits a terminal: each command has one short line.
    #[test]
    fn each_level_of_help_has_short_lines() {
        fn check(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                let about = sub.get_about().expect("a line about it").to_string();
                assert!(about.len() <= 60 && !about.ends_with('.'), "{about}");
                for argument in sub.get_arguments() {
                    assert!(argument.get_help().is_some(), "{argument}");
                }
                check(sub);
            }
        }
        check(&Arguments::command());
    }
}
