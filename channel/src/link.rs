//! What a carrier provides: shared pages with a doorbell, and a way to meet.
//!
//! The guest shares and dom0 maps, never the reverse. An idle session holds no port, and no page but the one by which
//! dom0 sees that it lives (over Xen), so a migration that knows nothing of us finds nothing to break.

#![forbid(unsafe_code)]

use crate::bus::Bus;
use crate::image::SessionId;
use crate::layout::Layout;
use crate::memory::SharedRegion;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Shared pages and a doorbell, open between the two ends.
pub trait Link: Send + Sync {
    /// The shared pages.
    fn memory(&self) -> &SharedRegion;
    /// Rings the peer's doorbell.
    fn notify(&self) -> io::Result<()>;
    /// Readable when the peer rang.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Takes all rings so far, so that [`Link::fd`] blocks until the next one.
    fn clear(&self) -> io::Result<()>;
    /// Whether the peer is known to have gone, so that nothing more will come. Asked often during a wait.
    fn is_gone(&self) -> bool {
        false
    }
}

impl<T: Link + ?Sized> Link for Box<T> {
    fn memory(&self) -> &SharedRegion {
        (**self).memory()
    }

    fn notify(&self) -> io::Result<()> {
        (**self).notify()
    }

    fn fd(&self) -> BorrowedFd<'_> {
        (**self).fd()
    }

    fn clear(&self) -> io::Result<()> {
        (**self).clear()
    }

    fn is_gone(&self) -> bool {
        (**self).is_gone()
    }
}

/// The guest's end of a link, before its pages are laid out.
pub trait GuestLink: Link {
    /// Grant references of the shared pages in order; zeros where the carrier has none.
    fn references(&self) -> &[u32];
}

/// Where a session's GPU state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residence {
    /// On the GPU; the program runs natively.
    Attached,
    /// In dom0's spool; API calls wait.
    Detached,
    /// The program runs, and part of the contents is still in dom0's spool: commands that need it wait.
    #[serde(rename = "arriving")]
    PostCopy,
}

impl fmt::Display for Residence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Residence::Attached => "attached",
            Residence::Detached => "detached",
            Residence::PostCopy => "arriving",
        })
    }
}

/// What a session tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The session's name.
    pub session: SessionId,
    /// Oldest and newest protocol version it speaks.
    pub protocol: (u32, u32),
    /// Process id in the guest, as the process sees it.
    pub pid: u32,
    /// The program's name, for people.
    pub program: String,
    /// Where its GPU state is.
    pub state: Residence,
    /// Number of its newest image; the one it waits for while detached or arriving.
    pub generation: u64,
    /// Why it cannot be moved, where so.
    pub blocked: Option<String>,
    /// Who else holds its GPU, as of the last time it was opened.
    #[serde(default)]
    pub others: Others,
    /// What a driver's own checkpoint would have to carry, as of the last time it was announced.
    #[serde(default)]
    pub left: LeftToDriver,
    /// What it sees on the guest's PCI bus, as of the last time it was asked; `None` where it cannot look.
    #[serde(default)]
    pub bus: Option<Bus>,
}

impl Announcement {
    /// The protocol version that dom0 chooses where it speaks `ours`: the newest that both ends speak.
    pub fn choose_protocol(&self, ours: RangeInclusive<u32>) -> Option<u32> {
        let (oldest, newest) = self.protocol;
        let common = newest.min(*ours.end());
        (common >= oldest && ours.contains(&common)).then_some(common)
    }
}

/// Processes of the guest that hold a session's GPU without a session of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// Program, process id and device node of each, for people.
    pub holders: Vec<String>,
    /// Processes that the session may not look at.
    pub unseen: u32,
}

/// What is left to a driver's own checkpoint, where an API moves by one: it goes through the guest's memory, while the program
/// waits. Zeros where there is no such API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftToDriver {
    /// The driver's contexts.
    pub contexts: u64,
    /// Device memory, in bytes.
    pub bytes: u64,
    /// Host memory that is pinned for devices, in bytes: it stays where it is, and makes the checkpoint slower.
    pub pinned: u64,
}

impl LeftToDriver {
    /// Of two sessions or APIs.
    pub fn and(self, other: LeftToDriver) -> LeftToDriver {
        LeftToDriver {
            contexts: self.contexts.saturating_add(other.contexts),
            bytes: self.bytes.saturating_add(other.bytes),
            pinned: self.pinned.saturating_add(other.pinned),
        }
    }

    /// Whether somebody who looks at `told` should hear of this: contexts came or went, or a tenth of the bytes and 16 MiB.
    pub fn differs_from(self, told: LeftToDriver) -> bool {
        const LITTLE: u64 = 16 << 20;
        let differs = |now: u64, told: u64| now.abs_diff(told) >= LITTLE.max(told / 10);
        self.contexts != told.contexts
            || differs(self.bytes, told.bytes)
            || differs(self.pinned, told.pinned)
    }
}

/// What dom0 asks of a session that is not open, or asks outside the rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Share pages, bind a port, publish both.
    Open,
    /// dom0 has unmapped: unbind the port, end the grants, acknowledge.
    Close,
    /// The session's nodes are gone: the domain is a new one. Announce again.
    Announce,
    /// Look at the PCI bus and tell.
    Look,
    /// The same, after the guest's kernel has looked for devices that it does not know.
    Rescan,
}

/// The guest's meeting place with dom0 (XenStore, or a socket for loopback).
pub trait Rendezvous {
    /// Publishes the session, or what changed of it.
    fn announce(&mut self, announcement: &Announcement) -> io::Result<()>;
    /// Readable when [`Rendezvous::next`] may have something.
    fn fd(&self) -> BorrowedFd<'_>;
    /// The next request, without blocking; `None` for noise. Once it has given `None`, [`Rendezvous::fd`] is readable
    /// only for something new.
    fn next(&mut self) -> io::Result<Option<Request>>;
    /// Shares up to `pages` pages (fewer where the guest's limit leaves fewer) and binds a doorbell.
    fn share(&mut self, pages: usize) -> io::Result<Box<dyn GuestLink>>;
    /// Publishes a laid-out link and acknowledges the `Open`.
    fn publish(&mut self, link: &dyn GuestLink) -> io::Result<()>;
    /// Ends the link, if one is open, and acknowledges the `Close`. What `publish` wrote goes in any case: a
    /// session ends a broken link by itself (it drops it), and is asked to close only later.
    fn close(&mut self, link: Option<Box<dyn GuestLink>>) -> io::Result<()>;
    /// Forgets a link that a move has cut off: the domain's pages and ports are no longer those it had.
    /// Ending them now would hit another domain's or a dead one's, so they are leaked on purpose.
    fn abandon(&mut self, link: Box<dyn GuestLink>) {
        std::mem::forget(link);
    }
    /// Says why the last request failed, and acknowledges it, with nothing of an earlier `publish` left.
    fn fail(&mut self, reason: &str) -> io::Result<()>;
    /// Whether the domain is another one than at the last announcement, as far as can be told: it was moved or restored.
    fn is_other_domain(&mut self) -> bool {
        false
    }
    /// Acknowledges a `Look` or `Rescan`, what it saw being announced. An open link stays open.
    fn looked(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// dom0's end of a rendezvous: one session it may open.
pub trait Peer: Send {
    /// What the session last told of itself.
    fn announcement(&self) -> &Announcement;
    /// Asks the session to open, waits up to `patience` for its pages, maps and validates them.
    fn open(&mut self, patience: Duration) -> io::Result<(Box<dyn Link>, Layout)>;
    /// Unmaps the link, then has the guest end its side and waits up to `patience` for it.
    fn close(&mut self, link: Box<dyn Link>, patience: Duration) -> io::Result<()>;
}

/// Waits until one of `fds` is readable. `None` waits for ever; `Ok(false)` on time-out.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let mut polled: Vec<PollFd> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    wait(&mut polled, timeout)
}

/// Waits as [`wait_readable`] does and says which it was; none on time-out (or a signal).
pub fn which_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN));
    wait(&mut polled, timeout)?;
    Ok(polled.map(|fd| !fd.revents().is_empty()))
}

fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let limit = timeout.map(|t| Timespec {
        tv_sec: t.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    match poll(fds, limit.as_ref()) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_speak_is_chosen() {
        let chosen = |oldest, newest, ours| {
            let announcement = Announcement {
                session: SessionId([0; 16]),
                protocol: (oldest, newest),
                pid: 1,
                program: String::new(),
                state: Residence::Attached,
                generation: 0,
                blocked: None,
                others: Others::default(),
                left: LeftToDriver::default(),
                bus: None,
            };
            announcement.choose_protocol(ours)
        };
        assert_eq!(chosen(1, 1, 1..=1), Some(1));
        assert_eq!(chosen(1, 2, 1..=4), Some(2), "an older guest");
        assert_eq!(chosen(2, 5, 1..=3), Some(3), "an older dom0");
        assert_eq!(chosen(1, 1, 2..=3), None);
        assert_eq!(chosen(4, 5, 2..=3), None);
    }

    #[test]
    fn small_changes_of_what_is_left_are_not_told() {
        let told = LeftToDriver {
            contexts: 1,
            bytes: 1 << 30,
            pinned: 0,
        };
        let more = |bytes| LeftToDriver {
            bytes: told.bytes + bytes,
            ..told
        };
        assert!(!told.differs_from(told));
        assert!(!more(100 << 20).differs_from(told));
        assert!(more(104 << 20).differs_from(told));
        let second = LeftToDriver {
            contexts: 2,
            ..told
        };
        assert!(second.differs_from(told));
        let first = LeftToDriver::default();
        assert!(!first.differs_from(first));
    }
}
