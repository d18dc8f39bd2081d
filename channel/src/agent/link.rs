//! Pages that program and agent share, and a doorbell between them.
//!
//! A sealed memfd and a pair of sockets, all of the agent's making. The ends of a socket have flags of their own, which those of an
//! eventfd would not be: nobody can make the agent wait.

#![forbid(unsafe_code)]

use crate::PAGE_SIZE;
use crate::link::{GuestLink, Link};
use crate::mapping::map;
use crate::memory::SharedRegion;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One end.
pub struct SharedLink {
    doorbell: OwnedFd,
    memory: SharedRegion,
    /// Nobody grants these pages: zeros.
    references: Vec<u32>,
}

/// What the program gets.
pub struct ForProgram {
    /// The pages.
    pub pages: OwnedFd,
    /// Its end of the doorbell.
    pub doorbell: OwnedFd,
}

impl SharedLink {
    /// Makes `pages` pages and a doorbell.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(pages: usize) -> io::Result<(SharedLink, ForProgram)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("xl-gpu-session", flags)?;
        rustix::fs::ftruncate(&file, (pages * PAGE_SIZE) as u64)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let link = SharedLink::map(&file, pages, ours)?;
        let given = ForProgram {
            pages: file,
            doorbell: theirs,
        };
        Ok((link, given))
    }

    /// The program's end.
    pub(super) fn map(file: &OwnedFd, pages: usize, doorbell: OwnedFd) -> io::Result<SharedLink> {
        Ok(SharedLink {
            doorbell,
            memory: map(file, pages)?,
            references: vec![0; pages],
        })
    }
}

impl Link for SharedLink {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&self.doorbell, &[1], flags) {
            // No room: rings are waiting already.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        // More than a socket holds, of one byte each. Once: a peer that goes on ringing is heard next time.
        let mut rings = [0; 4096];
        match rustix::net::recv(&self.doorbell, &mut rings[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl GuestLink for SharedLink {
    fn references(&self) -> &[u32] {
        &self.references
    }
}
