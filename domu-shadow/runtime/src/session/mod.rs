//! The session: this process's side of a migration.
//!
//! One thread announces the process to dom0 and then sleeps until dom0 asks for something. It finds
//! dom0 through XenStore, or a loopback daemon where [`SOCKET_ENV`] names its socket. Without either
//! the program runs as it would without us.

mod fetch;
mod grant_link;
mod identity;
mod send;
mod slot_bytes;
mod step;
mod this_domain;
mod workload;
mod xen;

use channel::guest::Session;
use channel::link::{Announcement, Rendezvous, Residence};
use channel::loopback::{LoopbackRendezvous, SOCKET_ENV};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::Duration;

/// Environment variable: pages a session shares while it is open (4 KiB each, 5 to 32768).
pub const PAGES_ENV: &str = "XL_GPU_PAGES";

/// Four slots of 256 KiB: the guest's 1024 grants (gntalloc's default) serve three open sessions at once.
const FEW_PAGES: usize = 263;

/// Sixteen slots of 1 MiB, for transfers at the bus's rate.
const MANY_PAGES: usize = 4200;

/// How many pages the guest grants in all, of all its programs.
const GRANTS_LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";

/// How long a lost XenStore connection or loopback daemon is left alone before the next attempt.
const RECONNECT: Duration = Duration::from_millis(500);

/// Filled by test builds only, in which the process moves itself: starts that where it is asked for, and says at which socket the
/// session meets it.
static STRESS: OnceLock<fn() -> Option<PathBuf>> = OnceLock::new();

/// Has `start` asked when the session starts: see `STRESS`.
pub fn set_stress(start: fn() -> Option<PathBuf>) {
    let _ = STRESS.set(start);
}

/// Where dom0 can be met.
enum Meeting {
    Loopback(PathBuf),
    XenStore,
}

impl Meeting {
    fn find(loopback: Option<OsString>) -> Option<Meeting> {
        match loopback {
            Some(path) if !path.is_empty() => Some(Meeting::Loopback(path.into())),
            _ => xen::in_guest().then_some(Meeting::XenStore),
        }
    }

    /// Pages to share by default.
    fn default_pages(&self) -> usize {
        let quarter = || -> Option<usize> {
            let limit = std::fs::read_to_string(GRANTS_LIMIT).ok()?;
            // A page of each process is no link's: the node `alive`.
            Some(limit.trim().parse::<usize>().ok()?.saturating_sub(64) / 4)
        };
        match self {
            Meeting::Loopback(_) => MANY_PAGES,
            Meeting::XenStore => quarter().unwrap_or(0).clamp(FEW_PAGES, MANY_PAGES),
        }
    }

    fn connect(&self, identity: &identity::Identity) -> io::Result<Box<dyn Rendezvous>> {
        Ok(match self {
            Meeting::Loopback(path) => Box::new(LoopbackRendezvous::connect(path)?),
            Meeting::XenStore => Box::new(xen::XenRendezvous::connect(identity)?),
        })
    }
}

/// Starts the session's thread; called once, when the program first uses a GPU.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let stress = STRESS.get().and_then(|start| start()).map(Into::into);
        // Stress has its own way to end: with the whole move.
        let is_stress = stress.is_some();
        let Some(meeting) = Meeting::find(stress.or_else(|| std::env::var_os(SOCKET_ENV))) else {
            log::debug!("no Xen guest and no {SOCKET_ENV}: nothing to migrate with");
            return;
        };
        if !is_stress {
            crate::process_exit::watch();
        }
        let started = crate::thread::with_all_signals_blocked(|| {
            std::thread::Builder::new()
                .name(crate::vendor::foreign::SESSION_THREAD.into())
                .spawn(move || serve(&meeting))
        });
        if let Err(e) = started {
            log::error!("cannot start the session's thread, this program cannot be migrated: {e}");
        }
    });
}

fn serve(meeting: &Meeting) {
    crate::fork::is_movers_thread();
    let identity = match identity::Identity::new() {
        Ok(identity) => identity,
        Err(e) => return log::error!("no session identity, this program cannot be migrated: {e}"),
    };
    let announcement = Announcement {
        session: identity.session,
        protocol: (*channel::PROTOCOL.start(), *channel::PROTOCOL.end()),
        pid: identity.pid,
        program: identity.program.clone(),
        state: Residence::Attached,
        generation: 0,
        blocked: None,
        others: Default::default(),
        bus: None,
        left: Default::default(),
    };
    let mut session = Session::new(
        workload::GpuWorkload::new(&identity),
        announcement,
        wanted_pages(meeting.default_pages()),
    );
    let mut told = false;
    loop {
        match meeting.connect(&identity) {
            Ok(mut rendezvous) => {
                told = false;
                log::info!("session {} announced", identity.session);
                let error = session.run(&mut *rendezvous);
                log::warn!("session {}: dom0 lost: {error}", identity.session);
            }
            Err(e) if !told => {
                log::warn!("cannot meet dom0, this program cannot be migrated until it can: {e}");
                told = true;
            }
            Err(_) => {}
        }
        std::thread::sleep(RECONNECT);
    }
}

fn wanted_pages(default: usize) -> usize {
    let Some(text) = std::env::var_os(PAGES_ENV) else {
        return default;
    };
    let range = channel::layout::MIN_PAGES..=channel::layout::MAX_PAGES;
    match text
        .to_str()
        .and_then(|t| t.parse().ok())
        .filter(|n| range.contains(n))
    {
        Some(pages) => pages,
        None => {
            log::warn!(
                "{PAGES_ENV}={text:?} is not a number from {} to {}: {default} pages are used",
                range.start(),
                range.end()
            );
            default
        }
    }
}
