//! Meeting dom0 in XenStore.
//!
//! The nodes are described in `docs/xenstore.md`. All paths are relative, so they mean this domain's
//! own home before and after every move.

use super::grant_link::{DOM0, GrantLink};
use super::identity::{Identity, Instance};
use super::this_domain::ThisDomain;
use channel::link::{Announcement, GuestLink, LeftToDriver, Rendezvous, Request};
use channel::xenstore::session::*;
use channel::xenstore::{self, PublishedChannel, SESSIONS};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use xen_bindings::{GrantToken, Store, StoreError};

/// True where this machine is a Xen guest that can talk to XenStore.
pub(super) fn in_guest() -> bool {
    Path::new("/dev/xen/xenbus").exists() || Path::new("/proc/xen/xenbus").exists()
}

/// This session's nodes.
pub(super) struct XenRendezvous {
    store: Store,
    /// `data/gpu-migration/<session>`.
    path: String,
    instance: Instance,
    mark: [u8; 16],
    /// Port of the link between `share` and `publish`.
    port: Option<u32>,
    /// The last request that was read.
    asked: String,
}

impl XenRendezvous {
    /// Connects to XenStore and watches this session's nodes.
    pub(super) fn connect(identity: &Identity) -> io::Result<Self> {
        let store = Store::open().map_err(to_io)?;
        let path = format!("{SESSIONS}/{}", identity.session);
        clean_up_after_the_dead(&store);
        store
            .watch(&format!("{path}/{REQUEST}"), "request")
            .map_err(to_io)?;
        remove_at_exit(&path);
        Ok(XenRendezvous {
            store,
            path,
            instance: identity.instance.clone(),
            mark: identity.session.0,
            port: None,
            asked: String::new(),
        })
    }

    fn node(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    fn this_domain(&self) -> Option<ThisDomain> {
        ThisDomain::read(|path| self.store.read_text(path).ok().flatten())
    }

    fn token(&self) -> Option<GrantToken> {
        GrantToken::new(DOM0, self.mark)
            .inspect_err(|e| log::warn!("dom0 will not see if this process is killed: {e}"))
            .ok()
    }

    /// Writes what goes with an answer, removes `channel` where `open` is false, and acknowledges `request`, all at
    /// once. A request that dom0 has written since stays: it is answered next.
    fn answer(&self, request: &str, write: Option<(&str, &str)>, open: bool) -> io::Result<()> {
        self.store
            .transaction(|t| {
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
            .map_err(to_io)
    }
}

impl Rendezvous for XenRendezvous {
    fn announce(&mut self, a: &Announcement) -> io::Result<()> {
        let exiting = EXITING.lock().unwrap_or_else(PoisonError::into_inner);
        if *exiting {
            return Ok(());
        }
        let mut token = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = Vec::new(); // until the node names the new one
        self.store
            .transaction(|t| {
                let node = |name| self.node(name);
                // Within the transaction: another domain has no grant of ours, and the suspend ends it.
                let named = t.read_text(&node(xenstore::session::ALIVE))?;
                if token.is_none() || named != token.as_ref().map(to_text) {
                    replaced.push(std::mem::replace(&mut *token, self.token()));
                }
                t.write(&node(PID), a.pid.to_string())?;
                t.write(&node(PROGRAM), &a.program)?;
                t.write(&node(INSTANCE), self.instance.to_text())?;
                t.write(&node(GENERATION), a.generation.to_string())?;
                t.write(&node(STATE), a.state.to_string())?;
                match &a.blocked {
                    Some(reason) => t.write(&node(BLOCKED), reason)?,
                    None if t.read(&node(BLOCKED))?.is_some() => t.remove(&node(BLOCKED))?,
                    None => {}
                }
                let others = (!a.others.holders.is_empty()).then(|| a.others.holders.join("\n"));
                let unseen = (a.others.unseen > 0).then(|| a.others.unseen.to_string());
                let alive = token.as_ref().map(to_text);
                let left =
                    (a.left != LeftToDriver::default()).then(|| xenstore::format_left(a.left));
                for (name, value) in [
                    (LEFT, left),
                    (PCI, a.bus.as_ref().map(ToString::to_string)),
                    (HOLDERS, others),
                    (UNSEEN, unseen),
                    (xenstore::session::ALIVE, alive),
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
            })
            .map_err(to_io)?;
        if let Some(domain) = self.this_domain() {
            let mut announced_in = ANNOUNCED_IN.lock().unwrap_or_else(PoisonError::into_inner);
            *announced_in = Some(domain);
        }
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.store.as_fd()
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        let mut changed = false;
        while self.store.next_event().map_err(to_io)?.is_some() {
            changed = true;
        }
        if !changed {
            return Ok(None);
        }
        match self
            .store
            .read_text(&self.node(REQUEST))
            .map_err(to_io)?
            .as_deref()
        {
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

    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        let link = GrantLink::share(pages)?;
        self.port = Some(link.port());
        Ok(Box::new(link))
    }

    fn publish(&mut self, link: &dyn GuestLink) -> io::Result<()> {
        let port = self
            .port
            .take()
            .ok_or_else(|| io::Error::other("publish without share"))?;
        let references = link.references();
        let first = references
            .first()
            .ok_or_else(|| io::Error::other("a link without pages"))?;
        let published = PublishedChannel {
            reference: *first,
            port,
            pages: references.len(),
            // Who may open the devices could grant any page.
            seal: None,
        };
        self.answer(
            xenstore::request::OPEN,
            Some((CHANNEL, &published.to_string())),
            true,
        )
    }

    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        // Port and grants end before dom0 hears so: after it the domain may be suspended at any moment.
        drop(link);
        self.answer(xenstore::request::CLOSE, None, false)
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        let request = self.asked.clone();
        self.answer(&request, Some((ERROR, reason)), false)
    }

    fn looked(&mut self) -> io::Result<()> {
        // Whatever else was asked meanwhile stays.
        self.answer(xenstore::request::LOOK, None, true)?;
        self.answer(xenstore::request::RESCAN, None, true)
    }

    fn is_other_domain(&mut self) -> bool {
        let announced_in = ANNOUNCED_IN.lock().unwrap_or_else(PoisonError::into_inner);
        let domains = self.this_domain().zip(announced_in.as_ref());
        domains.is_some_and(|(now, before)| now.is_other_than(before))
    }
}

fn to_io(e: StoreError) -> io::Error {
    io::Error::other(e)
}

/// Removes the nodes of processes that were killed: nobody else can, and they would hold up a migration.
fn clean_up_after_the_dead(store: &Store) {
    for session in store.directory(SESSIONS).unwrap_or_default() {
        let path = format!("{SESSIONS}/{session}");
        let instance = store.read_text(&format!("{path}/{INSTANCE}"));
        if let Ok(Some(text)) = instance
            && Instance::parse(&text).is_some_and(|i| i.is_dead())
        {
            log::info!("{path}: its process is gone");
            if let Err(e) = store.remove(&path) {
                log::warn!("{e}");
            }
        }
    }
}

/// As it stands in XenStore.
fn to_text(token: &GrantToken) -> String {
    token.reference().to_string()
}

/// Lets dom0 see that this process runs, whatever becomes of a connection; `None` before the first announcement, and where the
/// guest's limit of grants is used up.
static ALIVE: Mutex<Option<GrantToken>> = Mutex::new(None);

/// The domain in which the session was last announced, whatever becomes of a connection.
static ANNOUNCED_IN: Mutex<Option<ThisDomain>> = Mutex::new(None);

/// Nodes to remove when this process exits, and the process they belong to (not a fork's child).
static LEFT_BEHIND: Mutex<Option<(u32, String)>> = Mutex::new(None);

/// Set once the process exits; held while the session announces itself.
static EXITING: Mutex<bool> = Mutex::new(false);

fn remove_at_exit(path: &str) {
    extern "C" fn remove() {
        let Ok(Some((pid, path))) = LEFT_BEHIND.try_lock().map(|mut p| p.take()) else {
            return;
        };
        if pid != std::process::id() {
            return;
        }
        // The removal makes the session's watch fire, and it would announce itself again.
        *EXITING.lock().unwrap_or_else(PoisonError::into_inner) = true;
        if let Ok(store) = Store::open() {
            // The process is going: there is nobody left to tell of an error.
            let _ = store.remove(&path);
        }
    }
    if let Ok(mut left) = LEFT_BEHIND.lock()
        && left
            .replace((std::process::id(), path.to_owned()))
            .is_none()
    {
        // SAFETY: registers a plain function of this library, which is never unloaded before exit.
        unsafe { libc::atexit(remove) };
    }
}
