//! The program's end.

use super::memfd::{MemfdLink, Shared};
use super::messages::{Asked, Told};
use crate::datagram as socket;
use crate::layout::MIN_PAGES;
use crate::link::{Announcement, GuestLink, Rendezvous, Request};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Meets a loopback daemon at its socket.
pub struct LoopbackRendezvous {
    socket: OwnedFd,
    /// What `publish` will pass on.
    shared: Option<Shared>,
}

impl LoopbackRendezvous {
    /// Connects to the daemon at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket::seqpacket()?;
        rustix::net::connect(&socket, &socket::address(path)?)?;
        Ok(LoopbackRendezvous {
            socket,
            shared: None,
        })
    }
}

impl Rendezvous for LoopbackRendezvous {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        socket::send(&self.socket, &Told::Announce(announcement.clone()), &[])
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        Ok(socket::receive::<Asked>(&self.socket)?.map(|(asked, _)| asked.request))
    }

    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        let mut wanted = pages;
        let (link, shared) = loop {
            match MemfdLink::share(wanted) {
                // A process may map only so much.
                Err(e) if e.kind() == io::ErrorKind::OutOfMemory && wanted / 2 >= MIN_PAGES => {
                    wanted /= 2
                }
                answer => break answer?,
            }
        };
        self.shared = Some(shared);
        Ok(Box::new(link))
    }

    fn publish(&mut self, link: &dyn GuestLink) -> io::Result<()> {
        let shared = self
            .shared
            .take()
            .ok_or_else(|| io::Error::other("publish without share"))?;
        let fds = [
            shared.memfd.as_fd(),
            shared.host_doorbell.as_fd(),
            shared.guest_doorbell.as_fd(),
        ];
        socket::send(
            &self.socket,
            &Told::Channel {
                pages: link.references().len(),
            },
            &fds,
        )
    }

    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        drop(link);
        socket::send(&self.socket, &Told::Closed, &[])
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        socket::send(&self.socket, &Told::Failed(reason.into()), &[])
    }
}
