//! One session of a Xen guest, to be opened and closed.

use super::domains::session;
use super::link::MappedLink;
use super::pages::Pages;
use super::presence::{Alive, Presence};
use super::store::XenStore;
use super::watches::Watches;
use channel::bus::Bus;
use channel::layout::Layout;
use channel::link::{Announcement, Link, Peer};
use channel::xenstore::session::{ALIVE, CHANNEL, ERROR, PCI, PROTOCOL, REQUEST};
use channel::xenstore::{self, PublishedChannel};
use protocol::text;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// dom0's end of a session.
pub struct XenPeer {
    store: Arc<XenStore>,
    watches: Watches,
    pages: Pages,
    domid: u32,
    announcement: Announcement,
    folder: String,
}

impl XenPeer {
    /// The session `announcement` tells of.
    pub fn new(
        store: Arc<XenStore>,
        watches: Watches,
        pages: Pages,
        domid: u32,
        announcement: Announcement,
    ) -> Self {
        let folder = format!("{}/{}", xenstore::sessions(domid), announcement.session);
        XenPeer {
            store,
            watches,
            pages,
            domid,
            announcement,
            folder,
        }
    }

    fn node(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        self.store.read(&self.node(name))
    }

    /// Writes where the session is still announced.
    fn request(&self, request: &str) -> io::Result<()> {
        let guard = self.node(PROTOCOL);
        match self
            .store
            .write_under(&guard, &self.node(REQUEST), request)?
        {
            true => Ok(()),
            false => Err(self.gone()),
        }
    }

    /// Has the session look at its guest's PCI bus, unless it is asked something else at the moment.
    pub fn look(&self, rescan: bool, patience: Duration) -> io::Result<Option<Bus>> {
        if self.announcement.bus.is_none() {
            return Ok(None);
        }
        let request = match rescan {
            true => xenstore::request::RESCAN,
            false => xenstore::request::LOOK,
        };
        // Another request is never overwritten. One that overwrites this leaves no `pci`.
        let (node, seen) = (self.node(REQUEST), self.node(PCI));
        if !self.store.write_over(&node, "", request, &seen)? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.acknowledged(patience)?;
        let now = session(&self.store, self.domid, self.announcement.session)?;
        Ok(now.and_then(|a| a.bus))
    }

    fn presence(&self) -> io::Result<Presence> {
        let alive = self.read(ALIVE)?.unwrap_or_default();
        let alive = Alive::parse(self.domid, self.announcement.session, &alive);
        let (store, watches) = (self.store.clone(), self.watches.clone());
        let node = self.node(PROTOCOL);
        Ok(Presence::new(store, watches, self.domid, node, alive))
    }

    fn gone(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("it is no longer announced in domain {}", self.domid),
        )
    }

    /// Waits until the guest has taken the request off.
    fn acknowledged(&self, patience: Duration) -> io::Result<()> {
        let started = Instant::now();
        // An end past what a clock can hold is none.
        let deadline = started
            .checked_add(patience)
            .unwrap_or_else(|| started + Duration::from_secs(1 << 30));
        let mut wait = self.watches.wait_for_data(self.domid);
        loop {
            wait.mark();
            match self.read(REQUEST)?.as_deref() {
                Some("") => return Ok(()),
                Some(_) => {}
                None => return Err(self.gone()),
            }
            if Instant::now() >= deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer for {patience:?}"),
                ));
            }
            wait.until(deadline);
        }
    }

    fn map(&self) -> io::Result<(Box<dyn Link>, Layout)> {
        let Some(channel) = self.read(CHANNEL)? else {
            let reason = self.read(ERROR)?.unwrap_or_default();
            return Err(io::Error::other(format!(
                "it did not open: {}",
                text::clean(&reason)
            )));
        };
        let published = PublishedChannel::parse(&channel).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its node `channel` holds `{}`", text::clean(&channel)),
            )
        })?;
        let domid = u16::try_from(self.domid).map_err(io::Error::other)?;
        let (link, layout) = MappedLink::map(domid, published, &self.pages, self.presence()?)?;
        // A guest that has closed meanwhile may have granted the same numbers to others: what is mapped may be theirs.
        if self.read(CHANNEL)?.as_deref() != Some(&channel) {
            let what = "it closed while its pages were mapped";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, what));
        }
        Ok((Box::new(link), layout))
    }
}

impl Peer for XenPeer {
    fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    fn open(&mut self, patience: Duration) -> io::Result<(Box<dyn Link>, Layout)> {
        self.store
            .remove_under(&self.node(PROTOCOL), &self.node(ERROR))?;
        self.request(xenstore::request::OPEN)?;
        let opened = self.acknowledged(patience).and_then(|()| self.map());
        if opened.is_err() {
            // Nothing is mapped here. The guest may be about to open, or have done so: it closes again.
            if let Err(e) = self.request(xenstore::request::CLOSE)
                && e.kind() != io::ErrorKind::NotFound
            {
                log::warn!("domain {}: {}: {e}", self.domid, self.folder);
            }
        } else if let Ok(Some(now)) = session(&self.store, self.domid, self.announcement.session) {
            self.announcement = now;
        }
        opened
    }

    fn close(&mut self, link: Box<dyn Link>, patience: Duration) -> io::Result<()> {
        drop(link);
        let closed = self
            .request(xenstore::request::CLOSE)
            .and_then(|()| self.acknowledged(patience));
        match closed {
            // A guest that is gone has ended its side.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
