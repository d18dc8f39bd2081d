//! `xl-gpud`: the daemon.

use anyhow::Context;
use clap::Parser;
use daemon::carrier::Carrier;
use daemon::config::Config;
use daemon::daemon::Daemon;
use daemon::history::Histories;
use daemon::images::Images;
use daemon::loopback::LoopbackCarrier;
use daemon::reports::Reports;
use daemon::settings::Settings;
use daemon::xen::XenCarrier;
use daemon::{events, metrics, socket, status};
use protocol::conversation::SOCKET_VARIABLE;
use rustix::fs::{Access, FlockOperation, access, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spool::Spool;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Where files are kept over restarts of the host.
const STATE_DIR: &str = "/var/lib/xl-gpu";

/// Moves the GPU state of Xen guests along with xl migrate, save and restore.
///
/// Runs in dom0, as root, in the foreground. Guests' sessions are found in XenStore, the plugin in
/// libxl-save-helper and the command xl-gpu connect to its socket.
#[derive(Parser)]
#[command(name = "xl-gpud", version = version::VERSION, max_term_width = 100)]
struct Arguments {
    /// Folder for the socket, reports and images in memory
    #[arg(long, value_name = "DIR", default_value = "/run/xl-gpu")]
    run_dir: PathBuf,
    /// Folder for the history of migrations [default: /var/lib/xl-gpu, the run folder with --loopback]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Socket to listen at [default: gpud.sock in the run folder]
    #[arg(long, value_name = "PATH", env = SOCKET_VARIABLE)]
    socket: Option<PathBuf>,
    /// Configuration file [default: /etc/xen/xl-gpu.conf, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve programs on this machine that have XL_GPU_LOOPBACK=PATH in their environment; no Xen is used
    #[arg(long, value_name = "PATH")]
    loopback: Option<PathBuf>,
    /// Say more (-v: debug, -vv: trace)
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    let level = ["info", "debug", "trace"][usize::from(arguments.verbose.min(2))];
    // What xenstore-rs logs at these levels is every message on the wire.
    let filter = format!("{level},xenstore_rs=warn");
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter))
        .format(|out, record| {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            let (level, target) = (record.level(), record.target());
            writeln!(out, "[{now} {level:<5} {target}] {}", record.args())
        })
        .init();

    may_open_all();
    let config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::load_default()?,
    };
    let mut spool = config.spool();
    if let Some(programs) = &arguments.loopback {
        // Whoever tries it out need not be root, nor have made folders.
        let own = own_folder(programs);
        for (folder, name) in [(&mut arguments.run_dir, "run"), (&mut spool.dir, "spool")] {
            if !usable(folder) {
                make_own(&own)?;
                *folder = own.join(name);
                log::info!("{} is used for {name}", folder.display());
            }
        }
    }
    let socket_path = arguments
        .socket
        .unwrap_or_else(|| arguments.run_dir.join("gpud.sock"));
    // Before anything is touched that a daemon which runs already may be using.
    let _only_one = only_one(&arguments.run_dir)?;
    let listener = socket::bind(&socket_path)
        .with_context(|| format!("cannot listen at {}", socket_path.display()))?;
    let (carrier, happening): (Box<dyn Carrier>, _) = match &arguments.loopback {
        Some(path) => {
            let (carrier, events) = LoopbackCarrier::start(path)
                .with_context(|| format!("cannot listen for programs at {}", path.display()))?;
            (Box::new(carrier), events)
        }
        None => {
            let (carrier, events) = XenCarrier::start(config.channel_pages as usize)?;
            (Box::new(carrier), events)
        }
    };
    let spool = Spool::lasting(spool, arguments.run_dir.join("spool"))?;
    let state_dir = arguments
        .state_dir
        .unwrap_or_else(|| match arguments.loopback.is_some() {
            true => arguments.run_dir.clone(),
            false => PathBuf::from(STATE_DIR),
        });
    let histories = Histories::in_file(state_dir.join("history.jsonl"));
    let daemon = Daemon::new(
        carrier,
        Images::new(spool),
        Reports::new(Some(arguments.run_dir.join("reports")), histories),
        Settings::from(&config),
    );
    if let Some(address) = config.metrics {
        answer_prometheus(&daemon, address);
    }
    log::info!(
        "xl-gpud {} serves {} sessions, listens at {}",
        version::VERSION,
        daemon.carrier.name(),
        socket_path.display()
    );
    let serving = daemon.clone();
    std::thread::Builder::new()
        .name("socket".into())
        .spawn(move || socket::serve(&serving, &listener))?;
    events::handle(&daemon, &happening);
    anyhow::bail!("the connection to XenStore is lost")
}

/// In a thread of its own. Domains are moved with or without it.
fn answer_prometheus(daemon: &Arc<Daemon>, address: SocketAddr) {
    let listener = match metrics::http::bind(address) {
        Ok(listener) => listener,
        Err(e) => {
            return log::error!("metrics: cannot listen at {address}: {e}; nobody is told any");
        }
    };
    match address.ip().is_loopback() {
        true => log::info!("metrics: http://{address}/metrics"),
        false => log::warn!("metrics: whoever reaches http://{address}/metrics may read them"),
    }
    let daemon = daemon.clone();
    let make = move || match status::status(&daemon) {
        Ok(status) => Some(metrics::page::page(&status, daemon.reports.tallies())),
        Err(e) => {
            log::warn!("metrics: the domains cannot be read: {e}");
            None
        }
    };
    let last = metrics::page::LastPage::default();
    let page = move || last.or_make(&make);
    let serving = std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || metrics::http::serve(&listener, page));
    if let Err(e) = serving {
        log::error!("metrics: no thread can be had: {e}");
    }
}

/// Open files as many as the kernel allows: sessions take some each, and a guest decides how many sessions it has.
fn may_open_all() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(e) = setrlimit(Resource::Nofile, all) {
        log::warn!("the limit of open files stays {:?}: {e}", limit.current);
    }
}

/// Locks the run folder for as long as the file is open; the kernel unlocks it where the daemon is killed.
fn only_one(run_dir: &Path) -> anyhow::Result<File> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(run_dir)
        .with_context(|| format!("cannot make {}", run_dir.display()))?;
    let path = run_dir.join("lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another xl-gpud holds {}", path.display()))?;
    Ok(file)
}

/// Where a daemon for `programs` keeps its files if it may not where others do.
fn own_folder(programs: &Path) -> PathBuf {
    let name = programs.display().to_string().replace('/', "-");
    let uid = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("xl-gpud-{uid}{name}"))
}

/// Whether files can be made in `folder`, which is made if need be.
fn usable(folder: &Path) -> bool {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.is_ok() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Makes a folder where others may write too: nobody else's is taken for it.
fn make_own(folder: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    let found = std::fs::symlink_metadata(folder)
        .with_context(|| format!("cannot make {}: {made:?}", folder.display()))?;
    anyhow::ensure!(
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw(),
        "{} is somebody else's",
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_manual_page_lists_each_option() {
        let page = include_str!("../../../../docs/xl-gpud.8.md");
        for argument in Arguments::command().get_arguments() {
            let entry = match argument.get_long() {
                Some("verbose") => "`-v`\n".to_owned(),
                Some(long) => format!("`--{long}` *"),
                None => continue,
            };
            assert!(page.contains(&entry), "{entry} in docs/xl-gpud.8.md");
        }
    }
}
