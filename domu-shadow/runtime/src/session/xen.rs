//! Meeting dom0 in XenStore, by Xen's devices of this process's own.

use super::identity::Identity;
use channel::link::{Announcement, GuestLink, Rendezvous, Request};
use channel::this_domain::ThisDomain;
use channel::xenstore::PublishedChannel;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use xen_bindings::{GrantToken, Store, StoreError};
use xen_session::DOM0;
use xen_session::grant_link::GrantLink;
use xen_session::instance::Instance;
use xen_session::nodes::{Announcer, SessionNodes, clean_up_after_the_dead};

/// True where this machine is a Xen guest that can talk to XenStore.
pub(super) fn in_guest() -> bool {
    Path::new("/dev/xen/xenbus").exists() || Path::new("/proc/xen/xenbus").exists()
}

/// This session's nodes.
pub(super) struct XenRendezvous {
    nodes: SessionNodes,
    instance: Instance,
    mark: [u8; 16],
    /// Port of the link between `share` and `publish`.
    port: Option<u32>,
}

impl XenRendezvous {
    /// Connects to XenStore and watches this session's nodes.
    pub(super) fn connect(identity: &Identity) -> io::Result<Self> {
        clean_up_after_the_dead(&Store::open().map_err(to_io)?);
        let nodes = SessionNodes::connect(identity.session).map_err(to_io)?;
        remove_at_exit(nodes.path());
        Ok(XenRendezvous {
            nodes,
            instance: identity.instance.clone(),
            mark: identity.session.0,
            port: None,
        })
    }
}

fn new_token(mark: [u8; 16]) -> Option<GrantToken> {
    GrantToken::new(DOM0, mark)
        .inspect_err(|e| log::warn!("dom0 will not see if this process is killed: {e}"))
        .ok()
}

impl Rendezvous for XenRendezvous {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        let exiting = EXITING.lock().unwrap_or_else(PoisonError::into_inner);
        if *exiting {
            return Ok(());
        }
        let mut token = ALIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replaced = Vec::new(); // until the node names the new one
        let mark = self.mark;
        let mut alive = |named| {
            if token.is_none() || named != token.as_ref().map(to_text) {
                replaced.push(std::mem::replace(&mut *token, new_token(mark)));
            }
            token.as_ref().map(to_text)
        };
        let mut announcer = Announcer {
            instance: &self.instance,
            uid: None,
            alive: &mut alive,
        };
        let announced = self.nodes.announce(announcement, &mut announcer);
        announced.map_err(to_io)?;
        if let Some(domain) = self.nodes.domain() {
            let mut announced_in = ANNOUNCED_IN.lock().unwrap_or_else(PoisonError::into_inner);
            *announced_in = Some(domain);
        }
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.nodes.as_fd()
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        self.nodes.next_request().map_err(to_io)
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
        };
        self.nodes.publish(&published).map_err(to_io)
    }

    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        // Port and grants end before dom0 hears so: after it the domain may be suspended at any moment.
        drop(link);
        self.nodes.closed().map_err(to_io)
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        self.nodes.fail(reason).map_err(to_io)
    }

    fn looked(&mut self) -> io::Result<()> {
        self.nodes.looked().map_err(to_io)
    }

    fn is_other_domain(&mut self) -> bool {
        let announced_in = ANNOUNCED_IN.lock().unwrap_or_else(PoisonError::into_inner);
        let domains = self.nodes.domain().zip(announced_in.as_ref());
        domains.is_some_and(|(now, before)| now.is_other_than(before))
    }
}

fn to_io(e: StoreError) -> io::Error {
    io::Error::other(e)
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
