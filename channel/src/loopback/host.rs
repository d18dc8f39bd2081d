//! The daemon's end.

use super::memfd::{MemfdLink, Shared};
use super::messages::{Asked, Told};
use crate::datagram as socket;
use crate::layout::{Layout, MAX_PAGES, MIN_PAGES};
use crate::link::{Announcement, Link, Peer, Request, wait_readable};
use rustix::net::SocketFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Announcements taken at once; the descriptor stays readable for more.
const MAX_NEWS: usize = 64;

/// Where loopback programs arrive.
pub struct LoopbackListener {
    socket: OwnedFd,
}

impl LoopbackListener {
    /// Listens at `path`; a socket left over there by an earlier daemon is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match rustix::fs::unlink(path) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let socket = socket::seqpacket()?;
        rustix::net::bind(&socket, &socket::address(path)?)?;
        rustix::net::listen(&socket, 16)?;
        Ok(LoopbackListener { socket })
    }

    /// Readable when a program has connected.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits up to `patience` for the next program and its announcement.
    pub fn accept(&self, patience: Duration) -> io::Result<LoopbackPeer> {
        if !wait_readable(&[self.socket.as_fd()], Some(patience))? {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no program connected within {patience:?}"),
            ));
        }
        // Non-blocking: a program that reads nothing must not hold up the daemon's answers to others.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::accept_with(&self.socket, flags)?;
        LoopbackPeer::new(socket, patience)
    }
}

/// One connected program.
pub struct LoopbackPeer {
    socket: OwnedFd,
    announcement: Announcement,
}

impl LoopbackPeer {
    fn new(socket: OwnedFd, patience: Duration) -> io::Result<Self> {
        match hear(&socket, Instant::now() + patience)? {
            (Told::Announce(announcement), _) => Ok(LoopbackPeer {
                socket,
                announcement,
            }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Readable when the program has something new to say, or has gone.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes announcements that have come meanwhile; an error of kind `UnexpectedEof` where the program has gone.
    pub fn refresh(&mut self) -> io::Result<()> {
        for _ in 0..MAX_NEWS {
            match socket::receive(&self.socket)? {
                Some((Told::Announce(a), _)) => self.announcement = a,
                Some((other, _)) => return Err(unexpected(&other)),
                None => break,
            }
        }
        Ok(())
    }

    /// Has the program look at its PCI bus, and takes what it announces then.
    pub fn look(&mut self, rescan: bool, patience: Duration) -> io::Result<()> {
        let request = if rescan {
            Request::Rescan
        } else {
            Request::Look
        };
        self.ask(request)?;
        match hear(&self.socket, Instant::now() + patience)? {
            (Told::Announce(a), _) => self.announcement = a,
            (other, _) => return Err(unexpected(&other)),
        }
        Ok(())
    }

    fn ask(&self, request: Request) -> io::Result<()> {
        socket::send(&self.socket, &Asked { request }, &[])
    }

    /// The next message that is no announcement.
    fn answer(&mut self, deadline: Instant) -> io::Result<(Told, Vec<OwnedFd>)> {
        loop {
            match hear(&self.socket, deadline)? {
                (Told::Announce(a), _) => self.announcement = a,
                (Told::Failed(reason), _) => {
                    return Err(io::Error::other(format!(
                        "session {}: {reason}",
                        self.announcement.session
                    )));
                }
                other => return Ok(other),
            }
        }
    }
}

impl Peer for LoopbackPeer {
    fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    fn open(&mut self, patience: Duration) -> io::Result<(Box<dyn Link>, Layout)> {
        self.ask(Request::Open)?;
        let (pages, fds) = match self.answer(Instant::now() + patience)? {
            (Told::Channel { pages }, fds) if (MIN_PAGES..=MAX_PAGES).contains(&pages) => {
                (pages, fds)
            }
            (other, _) => return Err(unexpected(&other)),
        };
        let [memfd, host_doorbell, guest_doorbell] =
            <[OwnedFd; 3]>::try_from(fds).map_err(|fds| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} file descriptors with a channel, not 3", fds.len()),
                )
            })?;
        let link = MemfdLink::map(
            Shared {
                memfd,
                host_doorbell,
                guest_doorbell,
            },
            pages,
        )?;
        let layout = Layout::read(link.memory(), pages)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok((Box::new(link), layout))
    }

    fn close(&mut self, link: Box<dyn Link>, patience: Duration) -> io::Result<()> {
        drop(link);
        self.ask(Request::Close)?;
        let deadline = Instant::now() + patience;
        loop {
            match self.answer(deadline)? {
                (Told::Closed, _) => return Ok(()),
                (other, _) => log::debug!("while closing: {other:?}"),
            }
        }
    }
}

/// The next message, by `deadline`.
fn hear(socket: &OwnedFd, deadline: Instant) -> io::Result<(Told, Vec<OwnedFd>)> {
    loop {
        // First, so that a stream of messages nobody waits for ends as well.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the program did not answer in time",
            ));
        }
        if let Some(message) = socket::receive(socket)? {
            return Ok(message);
        }
        wait_readable(&[socket.as_fd()], Some(left))?;
    }
}

fn unexpected(told: &Told) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unexpected {told:?} from the program"),
    )
}
