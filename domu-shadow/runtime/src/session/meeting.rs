//! Where dom0 can be met.

use super::identity::Identity;
use super::xen::{self, XenRendezvous};
use channel::agent::{self, AgentRendezvous, AnnouncedIn};
use channel::link::Rendezvous;
use channel::loopback::LoopbackRendezvous;
use std::ffi::{CStr, OsString};
use std::io;
use std::path::PathBuf;

/// Four slots of 256 KiB: the guest's 1024 grants (gntalloc's default) serve three open sessions at once.
const FEW_PAGES: usize = 263;

/// Sixteen slots of 1 MiB, for transfers at the bus's rate.
const MANY_PAGES: usize = 4200;

/// How many pages the guest grants in all, of all its programs.
const GRANTS_LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";

/// What a process opens that meets dom0 by itself.
const DEVICES: [&CStr; 3] = [c"/dev/xen/gntalloc", c"/dev/xen/evtchn", c"/dev/xen/xenbus"];

/// The meeting place, found once.
pub(super) enum Meeting {
    Loopback(PathBuf),
    /// By Xen's devices.
    XenStore,
    /// By the guest's agent, which listens at this path, or will.
    Agent(PathBuf, AnnouncedIn),
}

impl Meeting {
    /// `loopback` and `agent` are what the environment names.
    pub(super) fn find(loopback: Option<OsString>, agent: Option<OsString>) -> Option<Meeting> {
        let named = |path: Option<OsString>| path.filter(|path| !path.is_empty());
        if let Some(path) = named(loopback) {
            return Some(Meeting::Loopback(path.into()));
        }
        if let Some(path) = named(agent) {
            return Some(Meeting::agent(path.into()));
        }
        let socket = PathBuf::from(agent::SOCKET);
        match xen::in_guest() {
            true if may_open_devices() => Some(Meeting::XenStore),
            // An agent that is started later is met then.
            true => Some(Meeting::agent(socket)),
            // A container has none of Xen's devices.
            false => socket.exists().then_some(Meeting::agent(socket)),
        }
    }

    fn agent(socket: PathBuf) -> Meeting {
        Meeting::Agent(socket, AnnouncedIn::default())
    }

    /// Pages to share by default.
    pub(super) fn default_pages(&self) -> usize {
        let quarter = || -> Option<usize> {
            let limit = std::fs::read_to_string(GRANTS_LIMIT).ok()?;
            // A page of each process is no link's: the node `alive`.
            Some(limit.trim().parse::<usize>().ok()?.saturating_sub(64) / 4)
        };
        match self {
            Meeting::Loopback(_) => MANY_PAGES,
            Meeting::XenStore | Meeting::Agent(..) => {
                quarter().unwrap_or(0).clamp(FEW_PAGES, MANY_PAGES)
            }
        }
    }

    pub(super) fn connect(&self, identity: &Identity) -> io::Result<Box<dyn Rendezvous>> {
        Ok(match self {
            Meeting::Loopback(path) => Box::new(LoopbackRendezvous::connect(path)?),
            Meeting::XenStore => Box::new(XenRendezvous::connect(identity)?),
            Meeting::Agent(path, announced_in) => {
                Box::new(AgentRendezvous::connect(path, announced_in)?)
            }
        })
    }

    /// `error` of `connect`, for the program's user.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        match self {
            Meeting::Agent(path, _) => format!(
                "this process may not open Xen's devices, and xl-gpu-agent at {}: {error} (systemctl status xl-gpu-agent; \
                 in a container, mount its socket)",
                path.display()
            ),
            _ => error.to_string(),
        }
    }
}

/// Whether this process could do without an agent.
fn may_open_devices() -> bool {
    // Where there is no such node, a module is missing, and an agent could do no better.
    let mut there = DEVICES.iter().filter(|path| access(path, libc::F_OK));
    there.all(|path| access(path, libc::R_OK | libc::W_OK))
}

fn access(path: &CStr, mode: i32) -> bool {
    // SAFETY: plain call with a string of the program's own.
    unsafe { libc::access(path.as_ptr(), mode) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_first() {
        let find =
            |loopback: &str, agent: &str| Meeting::find(Some(loopback.into()), Some(agent.into()));
        assert!(matches!(find("/a", "/b"), Some(Meeting::Loopback(path)) if path.ends_with("a")));
        let agent = find("", "/b").unwrap();
        assert!(matches!(&agent, Meeting::Agent(path, _) if path.ends_with("b")));
        let text = agent.explain(&io::ErrorKind::ConnectionRefused.into());
        assert!(
            text.contains("/b") && text.contains("xl-gpu-agent"),
            "{text}"
        );
    }
}
