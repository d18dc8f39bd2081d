//! Removes what processes that were killed left: their nodes, and images that nobody will ask for.

use crate::carrier::Carrier;
use crate::images::Images;
use channel::image::SessionId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// From the first sight of a killed process to the end of its images: an image cannot be had again.
const UNTIL_REMOVED: Duration = Duration::from_secs(2);

/// Sessions whose process was killed, until what they left is removed.
pub struct EndedSessions {
    carrier: Arc<dyn Carrier>,
    images: Arc<Images>,
    seen: Mutex<BTreeSet<(u32, SessionId)>>,
}

impl EndedSessions {
    /// None so far.
    pub fn new(carrier: Arc<dyn Carrier>, images: Arc<Images>) -> Self {
        EndedSessions {
            carrier,
            images,
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeSet<(u32, SessionId)>> {
        self.seen.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Removes what `ended` sessions left, if they are still so some time after they were first seen.
    pub fn remove_later(self: &Arc<Self>, domid: u32, ended: &[SessionId]) {
        let is_new = |id: &&SessionId| self.seen().insert((domid, **id));
        let new: Vec<SessionId> = ended.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return;
        }
        for session in &new {
            log::info!("domain {domid}: session {session}: its process was killed");
        }
        let (all, sessions) = (self.clone(), new.clone());
        let started = std::thread::Builder::new()
            .name("ended".into())
            .spawn(move || {
                std::thread::sleep(UNTIL_REMOVED);
                let now = all.carrier.sessions(domid);
                let still = now.map_or_else(|_| Vec::new(), |now| now.ended);
                for session in sessions {
                    if still.contains(&session) {
                        all.remove_ended_session(domid, session);
                    }
                    all.seen().remove(&(domid, session));
                }
            });
        if let Err(e) = started {
            log::warn!("domain {domid}: what killed processes left stays for now: {e}");
            new.iter().for_each(|session| {
                self.seen().remove(&(domid, *session));
            });
        }
    }

    fn remove_ended_session(&self, domid: u32, session: SessionId) {
        if let Err(e) = self.carrier.forget(domid, session) {
            log::warn!("domain {domid}: session {session}: {e}");
        }
        for key in self.images.keys(domid, |key, _| key.session == session) {
            self.images.drop_image(domid, key);
        }
    }
}
