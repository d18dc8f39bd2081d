//! A guest's granted pages and event channel as a link of the channel.

use super::pages::{Pages, Taken};
use super::presence::Presence;
use channel::PAGE_SIZE;
use channel::layout::Layout;
use channel::link::Link;
use channel::memory::SharedRegion;
use channel::xenstore::PublishedChannel;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use xen_bindings::{EventChannel, GrantMap};

/// Mapped pages and a bound port. The port goes first, what the pages count for last.
pub struct MappedLink {
    bell: EventChannel,
    memory: SharedRegion,
    presence: Presence,
    _taken: Taken,
}

impl MappedLink {
    /// Maps what domain `domid` published: page 0 for the layout, the directory for the references, then all pages
    /// at once. They count as the domain's among `pages`, and are of use while the session is present.
    pub fn map(
        domid: u16,
        published: PublishedChannel,
        pages: &Pages,
        presence: Presence,
    ) -> io::Result<(MappedLink, Layout)> {
        let taken = pages
            .take(domid, published.pages)
            .map_err(io::Error::other)?;
        let first = map(domid, &[published.reference])?;
        let layout = Layout::read(&first, published.pages).map_err(invalid)?;
        let mut references = vec![published.reference];
        references.extend(layout.references(&first));
        drop(first);
        if layout.directory_pages() > 1 {
            references.truncate(layout.directory_pages());
            let directory = map(domid, &references)?;
            references.truncate(1);
            references.extend(layout.references(&directory));
        }
        if references.len() != layout.pages() {
            return Err(invalid(format!(
                "{} references for {} pages",
                references.len(),
                layout.pages()
            )));
        }
        each_once(&references)?;
        let memory = map(domid, &references)?;
        let bell = EventChannel::connect(domid, published.port).map_err(io::Error::other)?;
        let link = MappedLink {
            bell,
            memory,
            presence,
            _taken: taken,
        };
        Ok((link, layout))
    }
}

/// A page that is listed twice would cost dom0 two mappings and the guest one grant.
fn each_once(references: &[u32]) -> io::Result<()> {
    let mut sorted = references.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(invalid(format!(
            "grant reference {} is listed twice in its directory",
            pair[0]
        ))),
    }
}

fn invalid(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

fn map(domid: u16, references: &[u32]) -> io::Result<SharedRegion> {
    let map = GrantMap::new(domid, references, true).map_err(io::Error::other)?;
    let base = NonNull::new(map.as_ptr())
        .ok_or_else(|| io::Error::other("grants were mapped at address zero"))?;
    let len = references.len() * PAGE_SIZE;
    // SAFETY: the grants are mapped page-aligned, readable and writable for `len` bytes until the map is dropped,
    // which the region owns; no reference to them exists.
    Ok(unsafe { SharedRegion::new(base, len, Box::new(map)) })
}

impl Link for MappedLink {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        self.bell.notify().map_err(io::Error::other)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        self.bell.take_pending().map(drop).map_err(io::Error::other)
    }

    fn is_gone(&self) -> bool {
        self.presence.is_gone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_is_mapped_twice() {
        each_once(&[]).unwrap();
        each_once(&[9, 3, 8]).unwrap();
        let error = each_once(&[9, 3, 8, 3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("reference 3"), "{error}");
    }
}
