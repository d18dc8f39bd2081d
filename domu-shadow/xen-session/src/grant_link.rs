//! Granted pages and an event channel as a link of the channel.

use crate::DOM0;
use channel::link::{GuestLink, Link};
use channel::memory::SharedRegion;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use xen_bindings::{EventChannel, GrantError, GrantShare};

/// Pages granted to dom0, and a port for it to bind. Dropped in this order: port, then pages.
pub struct GrantLink {
    bell: EventChannel,
    memory: SharedRegion,
    share: Arc<GrantShare>,
}

fn is_limit(error: &GrantError) -> bool {
    match error {
        GrantError::Limit { .. } => true,
        GrantError::Share { source, .. } => source.kind() == io::ErrorKind::OutOfMemory,
        _ => false,
    }
}

impl GrantLink {
    /// Grants up to `pages` pages, half as many again and again while the guest's limit is in the way, or the process'.
    ///
    /// # Errors
    /// What granting or binding said.
    pub fn share(pages: usize) -> io::Result<GrantLink> {
        let mut wanted = pages;
        let share = loop {
            match GrantShare::new(DOM0, wanted, true) {
                Ok(share) => break Arc::new(share),
                Err(e) if is_limit(&e) && wanted / 2 >= channel::layout::MIN_PAGES => wanted /= 2,
                Err(e) => return Err(io::Error::other(e)),
            }
        };
        let base = NonNull::new(share.as_ptr())
            .ok_or_else(|| io::Error::other("granted pages at address zero"))?;
        // SAFETY: the granted pages are page-aligned, readable and writable, and mapped as long as the
        // share lives, which the region owns a part of; no reference to them exists.
        let memory = unsafe { SharedRegion::new(base, share.len(), Box::new(share.clone())) };
        let bell = EventChannel::listen(DOM0).map_err(io::Error::other)?;
        Ok(GrantLink {
            bell,
            memory,
            share,
        })
    }

    /// The event channel port dom0 is to bind.
    pub fn port(&self) -> u32 {
        self.bell.port()
    }
}

impl Link for GrantLink {
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
}

impl GuestLink for GrantLink {
    fn references(&self) -> &[u32] {
        self.share.references()
    }
}
