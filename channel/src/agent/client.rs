//! The program's end.

#![forbid(unsafe_code)]

use super::link::SharedLink;
use super::messages::{Answer, Asked, Told, VERSION};
use crate::datagram;
use crate::layout::{MAX_PAGES, MIN_PAGES};
use crate::link::{Announcement, GuestLink, Rendezvous, Request, wait_readable};
use crate::this_domain::ThisDomain;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the agent may take for an answer. XenStore may be slow, and the domain may be suspended meanwhile.
const ANSWER: Duration = Duration::from_secs(60);

/// The domain in which a session was last announced, whatever becomes of a connection.
pub type AnnouncedIn = Arc<Mutex<Option<ThisDomain>>>;

/// Meets dom0 by way of the agent.
pub struct AgentRendezvous {
    socket: OwnedFd,
    requests: OwnedFd,
    announced_in: AnnouncedIn,
}

impl AgentRendezvous {
    /// Connects to the agent at `path`.
    ///
    /// # Errors
    /// What connecting said; the agent's reason where it refuses this program.
    pub fn connect(path: &Path, announced_in: &AnnouncedIn) -> io::Result<Self> {
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
            announced_in: announced_in.clone(),
        })
    }

    fn tell(&self, told: &Told) -> io::Result<(Answer, Vec<OwnedFd>)> {
        datagram::send(&self.socket, told, &[])?;
        answer(&self.socket)
    }

    fn tell_only(&self, told: &Told) -> io::Result<()> {
        done(self.tell(told)?.0)
    }

    /// What is answered with a domain.
    fn ask(&self, told: &Told) -> io::Result<Option<ThisDomain>> {
        match self.tell(told)?.0 {
            Answer::Domain(domain) => Ok(domain),
            other => Err(instead(other)),
        }
    }

    fn announced_in(&self) -> MutexGuard<'_, Option<ThisDomain>> {
        self.announced_in
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        other => Err(instead(other)),
    }
}

/// An answer that is not the one hoped for.
fn instead(answer: Answer) -> io::Error {
    match answer {
        Answer::Failed(reason) => io::Error::other(format!("the agent: {reason}")),
        Answer::Refused(reason) => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the agent refuses it: {reason}"),
        ),
        other => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("unexpected {other:?} from the agent"),
        ),
    }
}

fn descriptors<const N: usize>(fds: Vec<OwnedFd>) -> io::Result<[OwnedFd; N]> {
    <[OwnedFd; N]>::try_from(fds).map_err(|fds| {
        let what = format!("{} file descriptors from the agent, not {N}", fds.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

impl Rendezvous for AgentRendezvous {
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()> {
        if let Some(domain) = self.ask(&Told::Announce(Box::new(announcement.clone())))? {
            *self.announced_in() = Some(domain);
        }
        Ok(())
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.requests.as_fd()
    }

    fn next(&mut self) -> io::Result<Option<Request>> {
        let asked: Option<Asked> = datagram::receive_plain(&self.requests)?;
        Ok(asked.map(|asked| asked.request))
    }

    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>> {
        let mut wanted = pages;
        loop {
            let (lent, fds) = match self.tell(&Told::Share { pages: wanted })? {
                (Answer::Lent { pages }, fds) if (MIN_PAGES..=MAX_PAGES).contains(&pages) => {
                    (pages, fds)
                }
                (other, _) => return Err(instead(other)),
            };
            let [file, doorbell] = descriptors(fds)?;
            match SharedLink::map(&file, lent, doorbell) {
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
        // An agent that is gone is noticed by whoever asks for more.
        let now = self.ask(&Told::Where).ok().flatten();
        let domains = now.zip(self.announced_in().clone());
        domains.is_some_and(|(now, before)| now.is_other_than(&before))
    }

    fn looked(&mut self) -> io::Result<()> {
        self.tell_only(&Told::Looked)
    }
}
