//! A save that runs without the plugin. Xen's alone it would leave the GPU state of the domain's programs behind, so it is ended, as the
//! plugin would refuse it: the domain runs on.

use crate::daemon::Daemon;
use host::save::{Missing, Plugin, Save};

/// Why a save was ended.
#[derive(Debug, thiserror::Error)]
#[error(
    "domain {domid} has GPU sessions ({programs}), and a save of it ran without xl-gpu's plugin: {missing}. The GPU state would have been \
     left behind, so the save was ended, and the domain runs on. {}",
    .missing.remedy()
)]
struct Ended<'a> {
    domid: u32,
    programs: String,
    missing: &'a Missing,
}

trait Remedy {
    fn remedy(&self) -> &'static str;
}

impl Remedy for Missing {
    fn remedy(&self) -> &'static str {
        match self {
            Missing::NotLoaded => {
                "Put the plugin into Xen's helper and try again: /usr/lib/xl-gpu/save-helper-diversion add"
            }
            Missing::Unknown { .. } => "Use an xl-gpu that knows this Xen",
        }
    }
}

/// Ends it, if the domain has sessions.
pub fn look(daemon: &Daemon, save: &Save) {
    let (domid, Plugin::Missing(missing)) = (save.domid, &save.plugin) else {
        return;
    };
    let sessions = match daemon.carrier.sessions_of(domid) {
        Ok(sessions) => sessions.announced,
        Err(e) => return log::error!("a save runs without the plugin, and {e}"),
    };
    if sessions.is_empty() {
        return log::debug!("domain {domid}: saved without the plugin, it has no GPU session");
    }
    let programs: Vec<&str> = sessions.iter().map(|a| a.program.as_str()).collect();
    let ended = Ended {
        domid,
        programs: programs.join(", "),
        missing,
    };
    match save.end() {
        Ok(()) => {
            log::error!("{ended}");
            daemon.publisher.refused(domid, &ended);
        }
        Err(e) => log::error!(
            "domain {domid} is being saved without xl-gpu's plugin ({missing}), and process {} cannot be ended: {e}. Its GPU state stays behind",
            save.pid
        ),
    }
}
