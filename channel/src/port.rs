//! One end of an open link: two rings and the doorbell.

#![forbid(unsafe_code)]

use crate::PAGE_SIZE;
use crate::doorbell::{self, Doorbell, Woken};
use crate::layout::Layout;
use crate::link::{Link, which_readable};
use crate::message::{ToGuest, ToHost, Unknown};
use crate::ring::{Consumer, Corrupt, Entry, Producer};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How often a full ring is looked at again: its reader does not ring back.
const FULL_RETRY: Duration = Duration::from_millis(1);
/// So many rings without an entry are answered at once. After that the ring is looked at every [`FULL_RETRY`] only, so
/// that a peer cannot keep one of our processors busy with its doorbell.
const FREE_RINGS: u32 = 16;

/// How often a wait of dom0's looks whether the peer is still there.
const PRESENCE: Duration = Duration::from_secs(1);

/// The link is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The peer broke the ring's rules.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The peer sent a message of no known kind.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The doorbell failed.
    #[error("doorbell: {0}")]
    Doorbell(#[from] io::Error),
    /// Nothing came for too long.
    #[error("the peer said nothing for {0:?}")]
    Silent(Duration),
    /// The peer is no more.
    #[error("its process has gone: it ended, or was killed, before it had answered")]
    Gone,
    /// The wait was called off by the caller's other file descriptor.
    #[error("interrupted by a request")]
    Interrupted,
}

/// Both rings of a link, from one side.
pub struct Port<L> {
    link: L,
    layout: Layout,
    side: Side,
    sent: Producer,
    received: Consumer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Guest,
    Host,
}

impl<L: Link> Port<L> {
    /// The guest's end, freshly laid out.
    pub fn guest(link: L, layout: Layout) -> Self {
        Self::new(link, layout, Side::Guest)
    }

    /// dom0's end, its layout validated.
    pub fn host(link: L, layout: Layout) -> Self {
        Self::new(link, layout, Side::Host)
    }

    /// # Panics
    /// When fewer pages are mapped than the layout describes: that is a bug of the carrier.
    fn new(link: L, layout: Layout, side: Side) -> Self {
        let mapped = link.memory().len() / PAGE_SIZE;
        assert!(
            mapped >= layout.pages(),
            "a layout of {} pages over {mapped}",
            layout.pages()
        );
        Port {
            link,
            layout,
            side,
            sent: Producer::default(),
            received: Consumer::default(),
        }
    }

    /// The link.
    pub fn link(&self) -> &L {
        &self.link
    }

    /// Gives the link back, to close it.
    pub fn into_link(self) -> L {
        self.link
    }

    /// The validated layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What several threads need that send while another one receives.
    pub(crate) fn apart(&mut self) -> (&L, &Layout, Outgoing<'_, L>, Incoming<'_, L>) {
        let (link, layout, side) = (&self.link, &self.layout, self.side);
        let sent = &mut self.sent;
        let outgoing = Outgoing {
            link,
            layout,
            side,
            sent,
        };
        let received = &mut self.received;
        let incoming = Incoming {
            link,
            layout,
            side,
            received,
        };
        (link, layout, outgoing, incoming)
    }
}

/// The ring to the peer.
pub(crate) struct Outgoing<'a, L> {
    link: &'a L,
    layout: &'a Layout,
    side: Side,
    sent: &'a mut Producer,
}

impl<L: Link> Outgoing<'_, L> {
    /// As [`Port::send_to_guest`].
    pub(crate) fn send_to_guest(
        &mut self,
        message: ToGuest,
        patience: Duration,
    ) -> Result<(), PortError> {
        self.push(&message.encode(), patience, None)
    }

    /// Sends an entry; while the ring is full, waits up to `patience` or until `interrupt` is readable.
    fn push(
        &mut self,
        entry: &Entry,
        patience: Duration,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<(), PortError> {
        let memory = self.link.memory();
        let ring = match self.side {
            Side::Guest => self.layout.guest_to_dom0(memory),
            Side::Host => self.layout.dom0_to_guest(memory),
        };
        let mut doorbell = Waiter::new(self.link, Some(patience), interrupt);
        while !doorbell::send(self.sent, &ring, &mut doorbell, entry)? {
            if doorbell.left() == Some(Duration::ZERO) {
                return Err(PortError::Silent(patience));
            }
            match interrupt {
                Some(fd) if which_readable([fd], Some(FULL_RETRY))? == [true] => {
                    return Err(PortError::Interrupted);
                }
                Some(_) => {}
                None if self.link.is_gone() => return Err(PortError::Gone),
                None => std::thread::sleep(FULL_RETRY),
            }
        }
        Ok(())
    }
}

/// The ring from the peer.
pub(crate) struct Incoming<'a, L> {
    link: &'a L,
    layout: &'a Layout,
    side: Side,
    received: &'a mut Consumer,
}

impl<L: Link> Incoming<'_, L> {
    /// As [`Port::recv_from_guest`].
    pub(crate) fn recv_from_guest(&mut self, patience: Duration) -> Result<ToHost, PortError> {
        Ok(ToHost::decode(&self.wait(Some(patience), None)?)?)
    }

    /// The next entry; waits up to `patience`, or until `interrupt` becomes readable.
    fn wait(
        &mut self,
        patience: Option<Duration>,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Entry, PortError> {
        let memory = self.link.memory();
        let ring = match self.side {
            Side::Guest => self.layout.dom0_to_guest(memory),
            Side::Host => self.layout.guest_to_dom0(memory),
        };
        let mut doorbell = Waiter::new(self.link, patience, interrupt);
        doorbell::receive(self.received, &ring, &mut doorbell)?.ok_or(PortError::Interrupted)
    }
}

/// A link's doorbell for one wait.
struct Waiter<'a, L> {
    link: &'a L,
    patience: Option<Duration>,
    /// `None`: no end to the wait.
    deadline: Option<Instant>,
    interrupt: Option<BorrowedFd<'a>>,
    rings: u32,
}

impl<'a, L: Link> Waiter<'a, L> {
    fn new(
        link: &'a L,
        patience: Option<Duration>,
        interrupt: Option<BorrowedFd<'a>>,
    ) -> Waiter<'a, L> {
        Waiter {
            link,
            patience,
            deadline: patience.and_then(|p| Instant::now().checked_add(p)),
            interrupt,
            rings: 0,
        }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|d| d.saturating_duration_since(Instant::now()))
    }
}

impl<L: Link> Doorbell for Waiter<'_, L> {
    type Error = PortError;

    fn ring(&mut self) -> Result<(), PortError> {
        Ok(self.link.notify()?)
    }

    fn sleep(&mut self) -> Result<Woken, PortError> {
        loop {
            let left = self.left();
            if left == Some(Duration::ZERO) {
                return Err(PortError::Silent(self.patience.unwrap_or_default()));
            }
            let ours = self.link.fd();
            let [rang, called_off] = match self.interrupt {
                Some(fd) => which_readable([ours, fd], left)?,
                None => {
                    let slice = left.map_or(PRESENCE, |left| left.min(PRESENCE));
                    [which_readable([ours], Some(slice))? == [true], false]
                }
            };
            // The interrupt first: a doorbell that never rests must not hide it. The doorbell stays rung.
            if called_off {
                return Ok(Woken::CalledOff);
            }
            if rang {
                self.rings += 1;
                if self.rings > FREE_RINGS {
                    std::thread::sleep(FULL_RETRY);
                }
                return Ok(Woken::Rang);
            }
            if self.interrupt.is_none() && self.link.is_gone() {
                return Err(PortError::Gone);
            }
        }
    }

    fn clear(&mut self) -> Result<(), PortError> {
        Ok(self.link.clear()?)
    }
}

/// The guest's view. `interrupt`: a descriptor that ends the wait when readable ([`PortError::Interrupted`]).
impl<L: Link> Port<L> {
    /// Sends to dom0; waits up to `patience` for room.
    pub fn send_to_host(
        &mut self,
        message: ToHost,
        patience: Duration,
        interrupt: BorrowedFd<'_>,
    ) -> Result<(), PortError> {
        debug_assert_eq!(self.side, Side::Guest);
        let (_, _, mut out, _) = self.apart();
        out.push(&message.encode(), patience, Some(interrupt))
    }

    /// Receives from dom0 what is there already.
    pub fn try_recv_from_host(&mut self) -> Result<Option<ToGuest>, PortError> {
        debug_assert_eq!(self.side, Side::Guest);
        let ring = self.layout.dom0_to_guest(self.link.memory());
        match self.received.pop(&ring)? {
            Some(entry) => Ok(Some(ToGuest::decode(&entry)?)),
            None => Ok(None),
        }
    }

    /// Receives from dom0.
    pub fn recv_from_host(
        &mut self,
        patience: Option<Duration>,
        interrupt: BorrowedFd<'_>,
    ) -> Result<ToGuest, PortError> {
        debug_assert_eq!(self.side, Side::Guest);
        let (_, _, _, mut incoming) = self.apart();
        Ok(ToGuest::decode(&incoming.wait(patience, Some(interrupt))?)?)
    }
}

/// dom0's view.
impl<L: Link> Port<L> {
    /// Sends to the guest; waits up to `patience` for room.
    pub fn send_to_guest(&mut self, message: ToGuest, patience: Duration) -> Result<(), PortError> {
        debug_assert_eq!(self.side, Side::Host);
        self.apart().2.send_to_guest(message, patience)
    }

    /// Receives from the guest.
    pub fn recv_from_guest(&mut self, patience: Duration) -> Result<ToHost, PortError> {
        debug_assert_eq!(self.side, Side::Host);
        self.apart().3.recv_from_guest(patience)
    }
}

#[cfg(test)]
mod tests;
