//! What the agent needs of Xen.

use channel::image::SessionId;
use channel::link::{Announcement, GuestLink, Request};
use channel::this_domain::ThisDomain;
use channel::xenstore::PublishedChannel;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xen_bindings::{Store, StoreError};
use xen_session::grant_link::GrantLink;
use xen_session::instance::Instance;
use xen_session::nodes::{self, Announcer, SessionNodes};

/// XenStore and Xen's devices.
pub trait Xen: Send + Sync {
    /// Which domain this is; `None` where it cannot be told.
    fn domain(&self) -> Option<ThisDomain>;
    /// The place of a session.
    ///
    /// # Errors
    /// What XenStore said.
    fn meet(&self, session: SessionId) -> io::Result<Box<dyn Place>>;
    /// Grants up to `pages` pages to dom0 and binds a port.
    ///
    /// # Errors
    /// What granting or binding said.
    fn lend(&self, pages: usize) -> io::Result<Box<dyn Lent>>;
    /// Sessions that an earlier agent announced in this domain.
    ///
    /// # Errors
    /// What XenStore said.
    fn left_behind(&self) -> io::Result<Vec<LeftBehind>>;
    /// Removes a session's nodes.
    ///
    /// # Errors
    /// What XenStore said.
    fn remove(&self, session: SessionId) -> io::Result<()>;
}

/// A session that an earlier agent announced.
pub struct LeftBehind {
    pub session: SessionId,
    pub instance: Instance,
    pub uid: u32,
}

/// One session's nodes.
pub trait Place: Send {
    /// Readable when [`Place::next`] may have something.
    fn fd(&self) -> BorrowedFd<'_>;
    /// The process whose nodes are there already.
    ///
    /// # Errors
    /// What XenStore said.
    fn owner(&self) -> io::Result<Option<Instance>>;
    /// Writes the session, or what changed of it.
    ///
    /// # Errors
    /// What XenStore said.
    fn announce(&mut self, announcement: &Announcement, by: &Instance, uid: u32) -> io::Result<()>;
    /// The next request, without blocking; `None` for noise.
    ///
    /// # Errors
    /// What XenStore said.
    fn next(&mut self) -> io::Result<Option<Request>>;
    /// Publishes a channel and acknowledges the `Open`.
    ///
    /// # Errors
    /// What XenStore said.
    fn publish(&mut self, channel: &PublishedChannel) -> io::Result<()>;
    /// Takes a published channel back, before its pages and port end.
    ///
    /// # Errors
    /// What XenStore said.
    fn retract(&mut self) -> io::Result<()>;
    /// Acknowledges the `Close`.
    ///
    /// # Errors
    /// What XenStore said.
    fn closed(&mut self) -> io::Result<()>;
    /// Says why a request failed.
    ///
    /// # Errors
    /// What XenStore said.
    fn fail(&mut self, reason: &str) -> io::Result<()>;
    /// Acknowledges a look.
    ///
    /// # Errors
    /// What XenStore said.
    fn looked(&mut self) -> io::Result<()>;
    /// Whether the nodes are there. If not, the domain may be another one.
    fn is_announced(&self) -> bool;
}

/// Granted pages and a bound port. Dropped, both end; forgotten, neither does.
pub trait Lent: GuestLink {
    /// For dom0 to bind.
    fn port(&self) -> u32;
}

impl Lent for GrantLink {
    fn port(&self) -> u32 {
        GrantLink::port(self)
    }
}

/// The real one.
#[derive(Default)]
pub struct Devices;

/// A domain may have ten transactions open (xenstored's default), of all its programs together.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_io(e: StoreError) -> io::Error {
    io::Error::other(e)
}

impl Xen for Devices {
    fn domain(&self) -> Option<ThisDomain> {
        nodes::domain(&Store::open().ok()?)
    }

    fn meet(&self, session: SessionId) -> io::Result<Box<dyn Place>> {
        Ok(Box::new(XenPlace(
            SessionNodes::connect(session).map_err(to_io)?,
        )))
    }

    fn lend(&self, pages: usize) -> io::Result<Box<dyn Lent>> {
        Ok(Box::new(GrantLink::share(pages)?))
    }

    fn left_behind(&self) -> io::Result<Vec<LeftBehind>> {
        let store = Store::open().map_err(to_io)?;
        nodes::clean_up_after_the_dead(&store);
        let announced = nodes::announced(&store).map_err(to_io)?;
        let ours = announced.into_iter().filter_map(|a| {
            Some(LeftBehind {
                session: a.session,
                instance: a.instance?,
                uid: a.uid?,
            })
        });
        Ok(ours.collect())
    }

    fn remove(&self, session: SessionId) -> io::Result<()> {
        let store = Store::open().map_err(to_io)?;
        nodes::remove(&store, session).map_err(to_io)
    }
}

struct XenPlace(SessionNodes);

impl Place for XenPlace {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn owner(&self) -> io::Result<Option<Instance>> {
        self.0.instance().map_err(to_io)
    }

    fn announce(&mut self, announcement: &Announcement, by: &Instance, uid: u32) -> io::Result<()> {
        let _turn = one_at_a_time();
        let mut announcer = Announcer {
            instance: by,
            uid: Some(uid),
            // It would end with the agent, and dom0 would take the program for dead (docs/agent.md).
            alive: &mut |_| None,
        };
        let announced = self.0.announce(announcement, &mut announcer);
        announced.map_err(to_io)
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        self.0.next_request().map_err(to_io)
    }

    fn publish(&mut self, channel: &PublishedChannel) -> io::Result<()> {
        let _turn = one_at_a_time();
        self.0.publish(channel).map_err(to_io)
    }

    fn retract(&mut self) -> io::Result<()> {
        self.0.retract().map_err(to_io)
    }

    fn closed(&mut self) -> io::Result<()> {
        let _turn = one_at_a_time();
        self.0.closed().map_err(to_io)
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        let _turn = one_at_a_time();
        self.0.fail(reason).map_err(to_io)
    }

    fn looked(&mut self) -> io::Result<()> {
        let _turn = one_at_a_time();
        self.0.looked().map_err(to_io)
    }

    fn is_announced(&self) -> bool {
        self.0.is_announced()
    }
}
