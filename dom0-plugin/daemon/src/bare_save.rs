//! A save that runs without the plugin. Xen alone would leave the GPU state of the domain's programs behind, so the save is ended, as the
//! plugin would refuse it where the daemon cannot be had.

use crate::daemon::Daemon;
use host::save::{Missing, Plugin, Save};
use std::fmt;
use std::io;

/// What became of it.
#[derive(Debug)]
enum Outcome {
    Ended,
    /// The administrator wants it so.
    Left,
    Unstoppable(io::Error),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Ended => f.write_str(
                "Their GPU state would have stayed behind, so the save was ended, and the domain runs on",
            ),
            Outcome::Left => {
                f.write_str("Their GPU state stays behind (end_saves_without_plugin = false)")
            }
            Outcome::Unstoppable(e) => {
                write!(f, "Their GPU state stays behind: the save cannot be ended ({e})")
            }
        }
    }
}

/// What the administrator is told.
#[derive(Debug, thiserror::Error)]
#[error(
    "domain {domid} has GPU sessions ({programs}), and a save of it ran without xl-gpu's plugin: {missing}. {outcome}. {}",
    remedy(.missing)
)]
struct BareSave<'a> {
    domid: u32,
    programs: String,
    missing: &'a Missing,
    outcome: Outcome,
}

fn remedy(missing: &Missing) -> &'static str {
    match missing {
        Missing::NotLoaded => {
            "Put the plugin into Xen's helper: /usr/lib/xl-gpu/save-helper-diversion add (xl-gpu doctor shows which helper lacks it)"
        }
        Missing::Unknown { .. } => "Use an xl-gpu that knows this Xen",
    }
}

/// Ends it, if the domain has sessions.
pub fn look(daemon: &Daemon, save: &Save) {
    let (domid, Plugin::Missing(missing)) = (save.domid, &save.plugin) else {
        return;
    };
    let sessions = match daemon.carrier.sessions_of(domid) {
        Ok(sessions) => sessions.announced,
        Err(e) => return log::error!("a save runs without xl-gpu's plugin, and {e}"),
    };
    if sessions.is_empty() {
        return log::debug!("domain {domid}: saved without the plugin, it has no GPU session");
    }
    let outcome = match daemon.settings.ends_bare_saves {
        false => Outcome::Left,
        true => match save.end() {
            Ok(()) => Outcome::Ended,
            Err(e) => Outcome::Unstoppable(e),
        },
    };
    let programs: Vec<&str> = sessions.iter().map(|a| a.program.as_str()).collect();
    let told = BareSave {
        domid,
        programs: programs.join(", "),
        missing,
        outcome,
    };
    log::error!("{told}");
    daemon.publisher.refused(domid, &told);
}
