//! Shared pages and doorbells of the loopback carrier.

#![forbid(unsafe_code)]

use crate::PAGE_SIZE;
use crate::link::{GuestLink, Link};
use crate::mapping::map;
use crate::memory::SharedRegion;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One side's link: the mapped pages, the peer's doorbell, our own.
pub(super) struct MemfdLink {
    memory: SharedRegion,
    theirs: OwnedFd,
    ours: OwnedFd,
    references: Vec<u32>,
}

/// What the program passes to the daemon.
pub(super) struct Shared {
    pub memfd: OwnedFd,
    pub host_doorbell: OwnedFd,
    pub guest_doorbell: OwnedFd,
}

impl MemfdLink {
    /// Makes and maps `pages` pages and two doorbells; the second value goes to the daemon.
    pub(super) fn share(pages: usize) -> io::Result<(MemfdLink, Shared)> {
        let memfd = rustix::fs::memfd_create(
            "xl-gpu-channel",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        rustix::fs::ftruncate(&memfd, (pages * PAGE_SIZE) as u64)?;
        rustix::fs::fcntl_add_seals(
            &memfd,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
        )?;
        let doorbell = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let (host_doorbell, guest_doorbell) = (doorbell()?, doorbell()?);
        let link = MemfdLink {
            memory: map(&memfd, pages)?,
            theirs: host_doorbell.try_clone()?,
            ours: guest_doorbell.try_clone()?,
            references: vec![0; pages],
        };
        Ok((
            link,
            Shared {
                memfd,
                host_doorbell,
                guest_doorbell,
            },
        ))
    }

    /// Maps what a program passed. A size that could shrink under us would be a SIGBUS: it must be sealed.
    pub(super) fn map(shared: Shared, pages: usize) -> io::Result<MemfdLink> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        if !rustix::fs::fcntl_get_seals(&shared.memfd)?.contains(SealFlags::SHRINK) {
            return Err(invalid(
                "the shared pages are not sealed against shrinking".into(),
            ));
        }
        let size = rustix::fs::fstat(&shared.memfd)?.st_size;
        if u64::try_from(size).ok() != Some((pages * PAGE_SIZE) as u64) {
            return Err(invalid(format!(
                "{pages} pages announced, {size} bytes shared"
            )));
        }
        for doorbell in [&shared.host_doorbell, &shared.guest_doorbell] {
            let flags = rustix::fs::fcntl_getfl(doorbell)?;
            rustix::fs::fcntl_setfl(doorbell, flags | OFlags::NONBLOCK)?;
        }
        Ok(MemfdLink {
            memory: map(&shared.memfd, pages)?,
            theirs: shared.guest_doorbell,
            ours: shared.host_doorbell,
            references: Vec::new(),
        })
    }
}

impl Link for MemfdLink {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        match rustix::io::write(&self.theirs, &1u64.to_ne_bytes()) {
            // A full counter means rings are waiting already.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        match rustix::io::read(&self.ours, &mut [0u8; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl GuestLink for MemfdLink {
    fn references(&self) -> &[u32] {
        &self.references
    }
}
