//! The program's end.

#![forbid(unsafe_code)]

use super::messages::{Answer, Asked, Told, VERSION};
use crate::datagram;
use crate::layout::{MAX_PAGES, MIN_PAGES};
use crate::link::{Announcement, GuestLink, Link, Rendezvous, Request, wait_readable};
use crate::mapping::map;
use crate::memory::SharedRegion;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the agent may take for an answer. XenStore may be slow, and the domain may be suspended meanwhile.
const ANSWER: Duration = Duration::from_secs(60);

/// Meets dom0 by way of the agent.
pub struct AgentRendezvous {
    socket: OwnedFd,
    requests: OwnedFd,
    /// The domain has become another one since the last announcement.
    moved: bool,
}

impl AgentRendezvous {
    /// Connects to the agent at `path`.
    ///
    /// # Errors
    /// What connecting said; the agent's reason where it refuses this program.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = datagram::seqpacket()?;
        rustix::net::connect(&socket, &datagram::address(path)?)?;
        // One that refuses at once has hung up by now, and its reason can still be read.
        let said = datagram::send(&socket, &Told::Hello { version: VERSION }, &[]);
        let (answer, fds) = answer(&socket).map_err(|e| said.err().unwrap_or(e))?;
        done(answer)?;
        let [requests] = descriptors(fds)?;
        Ok(AgentRendezvous {
            socket,
            requests,
            moved: false,
        })
    }

    fn tell(&self, told: &Told) -> io::Result<(Answer, Vec<OwnedFd>)> {
        datagram::send(&self.socket, told, &[])?;
        answer(&self.socket)
    }

    fn tell_only(&self, told: &Told) -> io::Result<()> {
        done(self.tell(told)?.0)
    }
}

/// The agent's next answer.
fn answer(socket: &OwnedFd) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let deadline = Instant::now() + ANSWER;
    loop {
        if let Some(answer) = datagram::receive(socket)? {
            return Ok(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer from the agent for {ANSWER:?}"),
            ));
        }
        wait_readable(&[socket.as_fd()], Some(left))?;
    }
}

fn done(answer: Answer) -> io::Result<()> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Failed(reason) => Err(io::Error::other(format!("the agent: {reason}"))),
        Answer::Refused(reason) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the agent refuses it: {reason}"),
        )),
        other @ Answer::Lent { .. } => Err(unexpected(&other)),
    }
}

fn descriptors<const N: usize>(fds: Vec<OwnedFd>) -> io::Result<[OwnedFd; N]> {
    <[OwnedFd; N]>::try_from(fds).map_err(|fds| {
        let what = format!("{} file descriptors from the agent, not {N}", fds.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

fn unexpected(answer: &Answer) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unexpected {answer:?} from the agent"),
    )
}

impl Rendezvous for AgentRendezvous {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        self.tell_only(&Told::Announce(Box::new(announcement.clone())))?;
        self.moved = false;
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        let asked: Option<Asked> = datagram::receive_plain(&self.requests)?;
        Ok(asked.map(|asked| {
            self.moved |= asked.moved;
            asked.request
        }))
    }

    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        let mut wanted = pages;
        loop {
            let (lent, fds) = match self.tell(&Told::Share { pages: wanted })? {
                (Answer::Lent { pages }, fds) if (MIN_PAGES..=MAX_PAGES).contains(&pages) => {
                    (pages, fds)
                }
                (other, _) => {
                    return Err(done(other)
                        .err()
                        .unwrap_or_else(|| io::Error::other("nothing was lent")));
                }
            };
            let [file, doorbell] = descriptors(fds)?;
            match LentLink::new(&file, lent, doorbell) {
                // A process may map only so much.
                Err(e) if e.kind() == io::ErrorKind::OutOfMemory && lent / 2 >= MIN_PAGES => {
                    wanted = lent / 2;
                }
                link => return Ok(Box::new(link?)),
            }
        }
    }

    fn publish(&mut self, _: &dyn GuestLink) -> io::Result<()> {
        self.tell_only(&Told::Publish)
    }

    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()> {
        drop(link);
        self.tell_only(&Told::Closed)
    }

    fn fail(&mut self, reason: &str) -> io::Result<()> {
        self.tell_only(&Told::Failed(reason.into()))
    }

    fn is_other_domain(&mut self) -> bool {
        self.moved
    }

    fn looked(&mut self) -> io::Result<()> {
        self.tell_only(&Told::Looked)
    }
}

/// Lent pages, mapped, and the agent's end of a doorbell.
struct LentLink {
    doorbell: OwnedFd,
    memory: SharedRegion,
    references: Vec<u32>,
}

impl LentLink {
    fn new(file: &OwnedFd, pages: usize, doorbell: OwnedFd) -> io::Result<LentLink> {
        let memory = map(file, pages)?;
        let references = (0..pages)
            .map(|page| memory.load(page * 4, Ordering::Relaxed))
            .collect();
        Ok(LentLink {
            doorbell,
            memory,
            references,
        })
    }
}

impl Link for LentLink {
    fn memory(&self) -> &SharedRegion {
        &self.memory
    }

    fn notify(&self) -> io::Result<()> {
        ring(&self.doorbell)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    fn clear(&self) -> io::Result<()> {
        let mut rings = [0; 512];
        loop {
            match rustix::net::recv(&self.doorbell, &mut rings[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::CONNRESET) => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok((got, _)) if got < rings.len() => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Rings a doorbell that is a connected socket.
fn ring(doorbell: &OwnedFd) -> io::Result<()> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(doorbell, &[1], flags) {
        // No room: rings are waiting already.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

impl GuestLink for LentLink {
    fn references(&self) -> &[u32] {
        &self.references
    }
}
