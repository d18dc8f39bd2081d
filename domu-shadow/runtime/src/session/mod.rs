//! The session: this process's side of a migration.
//!
//! One thread announces the process to dom0 and then sleeps until dom0 asks for something. It finds
//! dom0 through XenStore, by Xen's devices where it may open them, else by the guest's agent; or a loopback daemon where
//! [`SOCKET_ENV`] names its socket. Without any the program runs as it would without us.

mod fetch;
mod identity;
mod meeting;
mod send;
mod slot_bytes;
mod step;
mod workload;
mod xen;

use crate::trusted_env;
use crate::vendor::foreign::SESSION_THREAD;
use channel::guest::Session;
use channel::link::{Announcement, Residence};
use channel::loopback::SOCKET_ENV;
use meeting::Meeting;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::Duration;

/// Environment variable: pages a session shares while it is open (4 KiB each, 5 to 32768).
pub const PAGES_ENV: &str = "XL_GPU_PAGES";

/// How long a lost XenStore connection, agent or loopback daemon is left alone before the next attempt.
const RECONNECT: Duration = Duration::from_millis(500);

/// Name of the session's thread while dom0 cannot be met: other sessions tell dom0 that this process holds the GPU.
const UNMET_THREAD: &str = "xl-gpu-unmet";

/// Filled by test builds only, in which the process moves itself: starts that where it is asked for, and says at which socket the
/// session meets it.
static STRESS: OnceLock<fn() -> Option<PathBuf>> = OnceLock::new();

/// Has `start` asked when the session starts: see `STRESS`.
pub fn set_stress(start: fn() -> Option<PathBuf>) {
    let _ = STRESS.set(start);
}

/// Starts the session's thread; called once, when the program first uses a GPU.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let stress = STRESS.get().and_then(|start| start()).map(Into::into);
        // Stress has its own way to end: with the whole move.
        let is_stress = stress.is_some();
        let loopback = stress.or_else(|| trusted_env::var_os(SOCKET_ENV));
        let agent = trusted_env::var_os(channel::agent::SOCKET_ENV);
        let Some(meeting) = Meeting::find(loopback, agent) else {
            log::debug!("no Xen guest and no {SOCKET_ENV}: nothing to migrate with");
            return;
        };
        if !is_stress {
            crate::process_exit::watch();
        }
        let started = crate::thread::with_all_signals_blocked(|| {
            std::thread::Builder::new()
                .name(UNMET_THREAD.into())
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
                crate::thread::rename(SESSION_THREAD);
                let error = session.run(&mut *rendezvous);
                crate::thread::rename(UNMET_THREAD);
                log::warn!("session {}: dom0 lost: {error}", identity.session);
            }
            Err(e) if !told => {
                log::warn!(
                    "cannot meet dom0, this program cannot be migrated until it can: {}",
                    meeting.explain(&e)
                );
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
