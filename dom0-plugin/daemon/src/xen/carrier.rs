//! Xen as the daemon's carrier.

use super::pages::Pages;
use super::peer::XenPeer;
use super::store::{Nodes, XenStore};
use super::toolstack::Xl;
use super::watches::Watches;
use super::{bare_saves, domains};
use crate::carrier::{Carrier, Domain, Event, Sessions};
use crate::passthrough::toolstack::Toolstack;
use channel::bus::Bus;
use channel::image::SessionId;
use channel::link::{Peer, Residence};
use channel::xenstore;
use channel::xenstore::session::{CHANNEL, ERROR, PROTOCOL};
use protocol::progress::Progress;
use protocol::status::PublishedState;
use protocol::text;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// XenStore and its watches.
pub struct XenCarrier {
    store: Arc<XenStore>,
    watches: Watches,
    pages: Pages,
    xl: Xl,
    /// What each domain's folder `progress` holds: what does not change is not written again and again.
    told: Mutex<BTreeMap<u32, Nodes>>,
}

impl XenCarrier {
    /// Connects to XenStore and follows all domains. Of all guests together no more than `pages` pages are mapped at a
    /// time.
    pub fn start(pages: usize) -> io::Result<(Self, Receiver<Event>)> {
        let store = Arc::new(XenStore::open()?);
        let watches = Watches::start()?;
        // Whoever looks at one event holds the next ones up, and what fires meanwhile is one entry in `watches`.
        let (sender, events) = sync_channel(1);
        if let Err(e) = bare_saves::start(sender.clone()) {
            log::warn!("saves without the plugin are seen at the suspend only: {e}");
        }
        let (for_thread, watching) = (store.clone(), watches.clone());
        std::thread::Builder::new()
            .name("domains".into())
            .spawn(move || domains::follow(&for_thread, &watching, &sender))?;
        let xl = Xl::new(store.clone());
        let carrier = XenCarrier {
            store,
            watches,
            pages: Pages::new(pages),
            xl,
            told: Mutex::default(),
        };
        Ok((carrier, events))
    }

    fn xen_peer(&self, domid: u32, session: SessionId) -> io::Result<XenPeer> {
        let announcement = domains::session(&self.store, domid, session)?.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("session {session} is not announced in domain {domid}"),
            )
        })?;
        Ok(XenPeer::new(
            self.store.clone(),
            self.watches.clone(),
            self.pages.clone(),
            domid,
            announcement,
        ))
    }

    /// Writes to the administrator's folder, unless the domain has gone.
    fn control(&self, domid: u32, name: &str, value: Option<&str>) {
        let (guard, path) = (
            domains::guard(domid),
            format!("{}/{name}", xenstore::control(domid)),
        );
        let written = match value {
            Some(value) => self.store.write_under(&guard, &path, value),
            None => self.store.remove_under(&guard, &path),
        };
        if let Err(e) = written {
            log::warn!("{path}: {e}");
        }
    }
}

impl Carrier for XenCarrier {
    fn name(&self) -> &'static str {
        "xen"
    }

    fn toolstack(&self) -> Option<&dyn Toolstack> {
        Some(&self.xl)
    }

    fn domains(&self) -> io::Result<Vec<Domain>> {
        domains::list(&self.store)?
            .into_iter()
            .map(|domid| {
                let name = self
                    .store
                    .read(&format!("{}/name", xenstore::home(domid)))?;
                Ok(Domain {
                    domid,
                    name: text::clean(&name.unwrap_or_default()),
                })
            })
            .collect()
    }

    fn sessions(&self, domid: u32) -> io::Result<Sessions> {
        domains::sessions(&self.store, domid)
    }

    fn peer(&self, domid: u32, session: SessionId) -> io::Result<Box<dyn Peer>> {
        Ok(Box::new(self.xen_peer(domid, session)?))
    }

    fn is_open(&self, domid: u32, session: SessionId) -> io::Result<bool> {
        let channel = format!("{}/{session}/{CHANNEL}", xenstore::sessions(domid));
        self.store.read(&channel).map(|node| node.is_some())
    }

    fn look(
        &self,
        domid: u32,
        session: SessionId,
        rescan: bool,
        patience: Duration,
    ) -> io::Result<Option<Bus>> {
        self.xen_peer(domid, session)?.look(rescan, patience)
    }

    fn await_state(
        &self,
        domid: u32,
        session: SessionId,
        wanted: Residence,
        patience: Duration,
    ) -> bool {
        let deadline = Instant::now() + patience;
        let mut wait = self.watches.wait_for_data(domid);
        loop {
            wait.mark();
            match domains::session(&self.store, domid, session) {
                Ok(Some(a)) if a.state != wanted => {}
                Ok(_) => return true,
                Err(e) => {
                    log::warn!("domain {domid}: session {session}: {e}");
                    return false;
                }
            }
            if Instant::now() >= deadline {
                return false;
            }
            wait.until(deadline);
        }
    }

    fn identity(&self, domid: u32) -> io::Result<Option<String>> {
        self.store.read(&format!("{}/vm", xenstore::home(domid)))
    }

    fn tell(&self, domid: u32, state: PublishedState, error: Option<&str>) {
        self.control(domid, xenstore::control::ERROR, error);
        self.control(domid, xenstore::control::STATE, Some(state.as_str()));
    }

    fn tell_progress(&self, domid: u32, progress: Option<&Progress>) {
        let folder = format!(
            "{}/{}",
            xenstore::control(domid),
            xenstore::control::PROGRESS
        );
        let guard = domains::guard(domid);
        let mut told = self.told.lock().unwrap_or_else(|e| e.into_inner());
        let before = told.remove(&domid).unwrap_or_default();
        let written = match progress {
            Some(progress) => progress_nodes(progress).and_then(|now| {
                let there = self.store.replace_under(&guard, &folder, &before, &now);
                if let Ok(true) = there {
                    told.insert(domid, now);
                }
                there
            }),
            None => self.store.remove_under(&guard, &folder),
        };
        if let Err(e) = written {
            log::warn!("{folder}: {e}");
        }
    }

    fn tell_session(&self, domid: u32, session: SessionId, error: &str) {
        let folder = format!("{}/{session}", xenstore::sessions(domid));
        let (guard, path) = (format!("{folder}/{PROTOCOL}"), format!("{folder}/{ERROR}"));
        if let Err(e) = self.store.write_under(&guard, &path, error) {
            log::warn!("{path}: {e}");
        }
    }

    fn acknowledge(&self, domid: u32) {
        self.control(domid, xenstore::control::REQUEST, Some(""));
    }

    fn forget(&self, domid: u32, session: SessionId) -> io::Result<()> {
        let folder = format!("{}/{session}", xenstore::sessions(domid));
        match self.store.remove_under(&domains::guard(domid), &folder)? {
            true => Ok(()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no domain {domid}"),
            )),
        }
    }
}

/// Names and values of the nodes under `progress`: the fields of [`Progress`]; those without a value have no node.
fn progress_nodes(progress: &Progress) -> io::Result<Nodes> {
    let fields = match serde_json::to_value(progress)? {
        serde_json::Value::Object(fields) => fields,
        other => return Err(io::Error::other(format!("{other} has no fields"))),
    };
    let node = |(name, value): (String, serde_json::Value)| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some((name, text)),
        number => Some((name, number.to_string())),
    };
    Ok(fields.into_iter().filter_map(node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::progress::{Phase, StandingOrder};

    #[test]
    fn progress_is_words_and_numbers() {
        let progress = Progress {
            phase: Phase::Round,
            wish: StandingOrder::Hold,
            round: 3,
            bytes: 10,
            expected: 20,
            copies: 4,
            zero: 2,
            dirty: Some(5),
            left: 7,
            rate: None,
            predicted: None,
            budget: 300,
            eta: None,
            elapsed: 1,
        };
        let nodes = progress_nodes(&progress).unwrap();
        let nodes: Vec<_> = nodes.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            nodes.join(" "),
            "budget=300 bytes=10 copies=4 dirty=5 elapsed=1 expected=20 left=7 phase=round round=3 wish=hold zero=2"
        );
    }
}
