//! What a guest's sessions see on its PCI bus.

use crate::carrier::Carrier;
use crate::parallel::in_parallel;
use channel::bus::Bus;
use channel::image::SessionId;
use std::time::Duration;

/// How long a session may take to look: as long as a busy guest takes for it, and no longer where its process hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What was told.
#[derive(Debug, Default)]
pub struct Seen {
    /// By each session that has looked.
    pub buses: Vec<Bus>,
    /// Sessions that did not answer, or cannot look.
    pub silent: usize,
}

/// Has the domain's sessions look, or only `asked`; after a scan for new devices if `rescan`. Each has `patience`.
pub fn look(
    carrier: &dyn Carrier,
    domid: u32,
    asked: Option<SessionId>,
    rescan: bool,
    patience: Duration,
) -> Seen {
    let sessions = match carrier.sessions(domid) {
        Ok(sessions) => sessions.announced,
        Err(e) => {
            log::warn!("domain {domid}: its sessions cannot be read: {e}");
            return Seen::default();
        }
    };
    let (tell, cannot): (Vec<_>, Vec<_>) = sessions
        .into_iter()
        .filter(|a| asked.is_none_or(|id| id == a.session))
        .partition(|a| a.bus.is_some());
    let looks = in_parallel(tell, |a| carrier.look(domid, a.session, rescan, patience));
    let mut seen = Seen {
        silent: cannot.len(),
        ..Seen::default()
    };
    for look in looks {
        match look {
            Ok(Some(bus)) => seen.buses.push(bus),
            Ok(None) => seen.silent += 1,
            Err(e) => {
                log::debug!("domain {domid}: {e}");
                seen.silent += 1;
            }
        }
    }
    seen
}
