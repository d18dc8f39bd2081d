//! A session's nodes in XenStore, as the guest writes and reads them.
//!
//! `docs/xenstore.md` describes them. All paths are relative, so they mean this domain's own home before and after every move.

use crate::instance::Instance;
use channel::image::SessionId;
use channel::link::{Announcement, LeftToDriver, Request};
use channel::this_domain::ThisDomain;
use channel::xenstore::session::*;
use channel::xenstore::{self, PublishedChannel, SESSIONS};
use std::os::fd::{AsFd, BorrowedFd};
use xen_bindings::{Store, StoreError};

/// One session's.
pub struct SessionNodes {
    store: Store,
    /// `data/gpu-migration/<session>`.
    path: String,
    /// The last request that was read.
    asked: String,
}

/// What `announce` writes beside the announcement.
pub struct Announcer<'a> {
    pub instance: &'a Instance,
    /// The user, where somebody else than the program speaks for it.
    pub uid: Option<u32>,
    /// The value of `alive`, by the one that is there. Called within the transaction: another domain has no grant of ours, and the
    /// suspend ends it.
    pub alive: &'a mut dyn FnMut(Option<String>) -> Option<String>,
}

impl SessionNodes {
    /// Connects to XenStore and watches the session's nodes.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn connect(session: SessionId) -> Result<Self, StoreError> {
        let store = Store::open()?;
        let path = format!("{SESSIONS}/{session}");
        store.watch(&format!("{path}/{REQUEST}"), "request")?;
        Ok(SessionNodes {
            store,
            path,
            asked: String::new(),
        })
    }

    /// `data/gpu-migration/<session>`, relative to the domain's home.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn node(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Writes what goes with an answer, removes `channel` where `open` is false, and acknowledges `request`, all at
    /// once. A request that dom0 has written since stays: it is answered next.
    fn answer(
        &self,
        request: &str,
        write: Option<(&str, &str)>,
        open: bool,
    ) -> Result<(), StoreError> {
        self.store.transaction(|t| {
            if let Some((name, value)) = write {
                t.write(&self.node(name), value)?;
            }
            if !open && t.read(&self.node(CHANNEL))?.is_some() {
                t.remove(&self.node(CHANNEL))?;
            }
            match t.read_text(&self.node(REQUEST))? {
                Some(now) if now == request => t.write(&self.node(REQUEST), ""),
                _ => Ok(()),
            }
        })
    }

    /// Writes the session, or what changed of it.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn announce(&mut self, a: &Announcement, by: &mut Announcer<'_>) -> Result<(), StoreError> {
        self.store.transaction(|t| {
            let node = |name| self.node(name);
            let alive = (by.alive)(t.read_text(&node(ALIVE))?);
            t.write(&node(PID), a.pid.to_string())?;
            t.write(&node(PROGRAM), &a.program)?;
            t.write(&node(INSTANCE), by.instance.to_text())?;
            t.write(&node(GENERATION), a.generation.to_string())?;
            t.write(&node(STATE), a.state.to_string())?;
            let others = (!a.others.holders.is_empty()).then(|| a.others.holders.join("\n"));
            let unseen = (a.others.unseen > 0).then(|| a.others.unseen.to_string());
            let left = (a.left != LeftToDriver::default()).then(|| xenstore::format_left(a.left));
            for (name, value) in [
                (BLOCKED, a.blocked.clone()),
                (LEFT, left),
                (PCI, a.bus.as_ref().map(ToString::to_string)),
                (HOLDERS, others),
                (UNSEEN, unseen),
                (UID, by.uid.map(|uid| uid.to_string())),
                (ALIVE, alive),
            ] {
                match value {
                    Some(value) => t.write(&node(name), value)?,
                    None if t.read(&node(name))?.is_some() => t.remove(&node(name))?,
                    None => {}
                }
            }
            // A request that has come meanwhile stays.
            if t.read(&node(REQUEST))?.is_none() {
                t.write(&node(REQUEST), "")?;
            }
            t.write(&node(PROTOCOL), xenstore::format_versions(a.protocol))
        })?;
        Ok(())
    }

    /// The next request, without blocking; `None` for noise.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn next_request(&mut self) -> Result<Option<Request>, StoreError> {
        let mut changed = false;
        while self.store.next_event()?.is_some() {
            changed = true;
        }
        if !changed {
            return Ok(None);
        }
        match self.store.read_text(&self.node(REQUEST))?.as_deref() {
            // Gone with the old domain (or with the toolstack's blessing): the new one has to hear of us.
            None => Ok(Some(Request::Announce)),
            Some("") => Ok(None),
            Some(request) => {
                self.asked = request.to_owned();
                match request {
                    xenstore::request::OPEN => return Ok(Some(Request::Open)),
                    xenstore::request::CLOSE => return Ok(Some(Request::Close)),
                    xenstore::request::LOOK => return Ok(Some(Request::Look)),
                    xenstore::request::RESCAN => return Ok(Some(Request::Rescan)),
                    other => self.fail(&format!(
                        "unknown request `{}`: expected `open`, `close`, `look` or `rescan`",
                        other.escape_default()
                    ))?,
                }
                Ok(None)
            }
        }
    }

    /// Publishes a channel and acknowledges the `open`.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn publish(&self, channel: &PublishedChannel) -> Result<(), StoreError> {
        let channel = channel.to_string();
        self.answer(xenstore::request::OPEN, Some((CHANNEL, &channel)), true)
    }

    /// Takes a published channel back, before its pages and port end: their numbers may be others' then. Acknowledges nothing.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn retract(&self) -> Result<(), StoreError> {
        self.store.remove(&self.node(CHANNEL))
    }

    /// Acknowledges a `close`: nothing is shared any longer.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn closed(&self) -> Result<(), StoreError> {
        self.answer(xenstore::request::CLOSE, None, false)
    }

    /// Says why the last request failed, and acknowledges it.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn fail(&self, reason: &str) -> Result<(), StoreError> {
        self.answer(&self.asked, Some((ERROR, reason)), false)
    }

    /// Acknowledges a look at the PCI bus. Whatever else was asked meanwhile stays.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn looked(&self) -> Result<(), StoreError> {
        self.answer(xenstore::request::LOOK, None, true)?;
        self.answer(xenstore::request::RESCAN, None, true)
    }

    /// The process whose nodes are there.
    ///
    /// # Errors
    /// What XenStore said.
    pub fn instance(&self) -> Result<Option<Instance>, StoreError> {
        let text = self.store.read_text(&self.node(INSTANCE))?;
        Ok(text.and_then(|text| Instance::parse(&text)))
    }

    /// Whether the session's nodes are there. What cannot be read is no proof that they are not.
    pub fn is_announced(&self) -> bool {
        !matches!(self.store.read(&self.node(PROTOCOL)), Ok(None))
    }

    /// Which domain this is; `None` where it cannot be told.
    pub fn domain(&self) -> Option<ThisDomain> {
        domain(&self.store)
    }
}

impl AsFd for SessionNodes {
    /// Readable when [`SessionNodes::next_request`] may have something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }
}

/// Which domain this is; `None` where it cannot be told.
pub fn domain(store: &Store) -> Option<ThisDomain> {
    ThisDomain::read(|path| store.read_text(path).ok().flatten())
}

/// A session that is announced in this domain.
pub struct Announced {
    pub session: SessionId,
    /// Its process; `None` where its nodes name none.
    pub instance: Option<Instance>,
    /// The user, where an agent speaks for it.
    pub uid: Option<u32>,
}

/// The domain's sessions.
///
/// # Errors
/// What XenStore said.
pub fn announced(store: &Store) -> Result<Vec<Announced>, StoreError> {
    let mut sessions = Vec::new();
    for session in store.directory(SESSIONS)? {
        let Ok(session) = session.parse::<SessionId>() else {
            continue;
        };
        let read = |name| store.read_text(&format!("{SESSIONS}/{session}/{name}"));
        sessions.push(Announced {
            session,
            instance: read(INSTANCE)?.and_then(|text| Instance::parse(&text)),
            uid: read(UID)?.and_then(|text| text.parse().ok()),
        });
    }
    Ok(sessions)
}

/// Removes a session's nodes.
///
/// # Errors
/// What XenStore said.
pub fn remove(store: &Store, session: SessionId) -> Result<(), StoreError> {
    store.remove(&format!("{SESSIONS}/{session}"))
}

/// Removes the nodes of processes that were killed: nobody else can, and they would hold up a migration.
pub fn clean_up_after_the_dead(store: &Store) {
    let sessions = announced(store).unwrap_or_else(|e| {
        log::warn!("nodes of ended processes stay: {e}");
        Vec::new()
    });
    let dead = |a: &Announced| a.instance.as_ref().is_some_and(Instance::is_dead);
    for ended in sessions.into_iter().filter(dead) {
        log::info!("session {}: its process is gone", ended.session);
        if let Err(e) = remove(store, ended.session) {
            log::warn!("{e}");
        }
    }
}
