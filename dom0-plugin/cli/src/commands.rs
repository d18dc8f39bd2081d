//! Doing what was asked for.

use crate::arguments::{Arguments, Command, GenerateCommand, OneDomain, StreamCommand};
use crate::client::Client;
use crate::exit::Exit;
use crate::{bundle, generate, show, timeline, watch};
use anyhow::Context;
use host::examination::{Daemon, Host, HostDiagnosis, examine};
use protocol::control::{Control, Forgotten, Idleness, Order, Outcome};
use protocol::conversation::Done;
use protocol::diagnosis::Diagnosis;
use protocol::history::History;
use protocol::report::Report;
use std::path::Path;

/// Does it.
pub fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let connect = || Client::connect(&arguments.socket);
    match arguments.command {
        Command::Stream(StreamCommand::Verify { file, json }) => verify(&file, json)?,
        Command::Generate(what) => match what {
            GenerateCommand::Man { folder } => generate::man(&folder)?,
            GenerateCommand::Completions { folder } => generate::completions(&folder)?,
            GenerateCommand::Markdown => show::print_text(&generate::markdown())?,
        },
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
        Command::Report {
            bundle: true,
            output,
            ..
        } => {
            let written = bundle::write(&arguments.socket, &this_host(&arguments.socket), output)?;
            show::print_text(&written)?;
        }
        Command::Report {
            domain, json, svg, ..
        } => {
            let mut client = connect()?;
            let report = report(&mut client, domain)?;
            match svg {
                Some(file) => std::fs::write(&file, timeline::svg(&report))
                    .with_context(|| format!("cannot write {}", file.display()))?,
                None => show::print(&report, json, show::report::text)?,
            }
        }
        Command::History { domain, json } => {
            let history: History = connect()?.ask(&Control::History { domain })?;
            show::print(&history, json, show::history::text)?;
        }
        Command::Doctor { domain: None, json } => {
            let found = this_host(&arguments.socket);
            show::print(&found, json, show::diagnosis::host)?;
            if !found.ready {
                return Ok(Exit::CannotMigrate);
            }
        }
        Command::Doctor {
            domain: Some(domain),
            json,
        } => {
            let save_helper = std::env::var("LIBXL_SAVE_HELPER");
            let save_helper = save_helper.ok().filter(|path| !path.is_empty());
            let diagnosis: Diagnosis = connect()?.ask(&Control::Doctor {
                domain,
                save_helper,
            })?;
            show::print(&diagnosis, json, show::diagnosis::text)?;
            if !diagnosis.can_migrate {
                return Ok(Exit::CannotMigrate);
            }
        }
        Command::Idle { removal } => {
            let idleness: Idleness = connect()?.ask(&Control::Idle)?;
            let kept = idleness.kept.iter().filter(|_| removal);
            let lines: Vec<&str> = idleness
                .under_way
                .iter()
                .chain(kept)
                .map(String::as_str)
                .collect();
            if !lines.is_empty() {
                show::print_text(&lines.join("\n"))?;
                return Ok(Exit::NotIdle);
            }
        }
        Command::Request { domain, request } => {
            let mut client = connect()?;
            let domid = client.find(domain.as_deref())?;
            let outcome: Outcome = client.ask(&Control::Request { domid, request })?;
            show::print_text(&show::outcome(&outcome))?;
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
    Ok(Exit::Done)
}

/// What this host lacks, with the daemon or without.
pub fn this_host(socket: &Path) -> HostDiagnosis {
    let daemon = Client::connect(socket).and_then(|mut client| client.status(None));
    let daemon = match daemon {
        Ok(status) => Daemon::Runs {
            version: status.version,
        },
        Err(e) => Daemon::Silent(format!("{e:#}")),
    };
    examine(&Host::look(daemon, version::VERSION))
}

/// The last report of a domain, which may have left this host.
fn report(client: &mut Client, domain: Option<String>) -> anyhow::Result<Report> {
    match (client.find(domain.as_deref()), domain) {
        (Ok(domid), _) => client.ask(&Control::Report { domid }),
        (Err(_), Some(domain)) => client.ask(&Control::ReportOf { domain }),
        (Err(e), None) => Err(e),
    }
}

fn steer(mut client: Client, one: OneDomain, order: Order) -> anyhow::Result<()> {
    let domid = client.find(one.domain.as_deref())?;
    client
        .ask::<Done>(&Control::Steer { domid, order })
        .map(drop)
}

fn verify(file: &Path, json: bool) -> anyhow::Result<()> {
    let verified = if file == Path::new("-") {
        stream::verify::verify(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("cannot read {}", file.display()))?;
        stream::verify::verify(std::io::BufReader::with_capacity(1 << 20, opened))
    };
    let report = verified.with_context(|| format!("{}: not a sound stream", file.display()))?;
    show::print(&report, json, |report, _| report.to_string())
}
