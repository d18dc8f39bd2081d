//! Passes a channel on: to a program that is not trusted it is dom0, to dom0 it is the guest.
//!
//! ```text
//!   program               whoever relays                     dom0
//!     pages of its own      copies slots, passes messages      granted pages
//!     ring, slots  <────────────────────────────────────>  ring, slots
//! ```
//!
//! Both have the same number of pages and the same layout, so slots keep their numbers. What a message says is looked at only as far as
//! bytes go with it. Every peer index, slot and length is checked here; what both ends check besides is left to them.

#![forbid(unsafe_code)]

use crate::image::EXTENT_BYTES;
use crate::layout::Layout;
use crate::link::Link;
use crate::memory::SharedBytes;
use crate::message::{ToGuest, ToHost, Unknown};
use crate::ring::{Consumer, Corrupt, Entry, Producer};
use std::io;
use std::os::fd::BorrowedFd;

/// Most messages passed on at a time, each way.
const AT_ONCE: usize = 64;

/// The relay is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// An end broke the ring's rules.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// An end sent a message of no known kind.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// A message names bytes that its slot does not have.
    #[error("a message names slot {slot} of {slots}, with {len} bytes of at most {most}")]
    Slot {
        slot: u64,
        slots: usize,
        len: u64,
        most: usize,
    },
    /// A doorbell failed, or an end has hung up.
    #[error("doorbell: {0}")]
    Doorbell(#[from] io::Error),
}

/// Whether there is more to do before a doorbell rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait for a doorbell.
    Wait,
    /// Messages are waiting.
    Again,
    /// A ring is full, and its reader rings nobody when it has made room.
    Retry,
}

/// One direction.
#[derive(Default)]
struct Way {
    from: Consumer,
    to: Producer,
    /// A message that found no room, its bytes copied.
    held: Option<Entry>,
}

/// A channel to a program and the one to dom0.
pub struct Relay<P, D> {
    program: P,
    dom0: D,
    layout: Layout,
    to_dom0: Way,
    to_program: Way,
}

impl<P: Link, D: Link> Relay<P, D> {
    /// Both ends laid out as `layout` says.
    ///
    /// # Panics
    /// When an end has fewer pages than the layout: that is a bug of the carrier.
    pub fn new(program: P, dom0: D, layout: Layout) -> Relay<P, D> {
        for memory in [program.memory(), dom0.memory()] {
            assert!(memory.len() >= layout.pages() * crate::PAGE_SIZE);
        }
        Relay {
            program,
            dom0,
            layout,
            to_dom0: Way::default(),
            to_program: Way::default(),
        }
    }

    /// Readable when dom0 rang, and when the program rang.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.dom0.fd(), self.program.fd()]
    }

    /// Of both ends.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// dom0's end, to be closed.
    pub fn into_dom0(self) -> D {
        self.dom0
    }

    /// Passes on what is there. Never blocks.
    ///
    /// # Errors
    /// [`RelayError`]: both channels have to be closed.
    pub fn pass(&mut self) -> Result<Next, RelayError> {
        // In this order: a ring that is taken belongs to a message that is seen.
        self.dom0.clear()?;
        self.program.clear()?;
        let out = self.pass_to_dom0()?;
        let back = self.pass_to_program()?;
        Ok(match (out, back) {
            (Next::Again, _) | (_, Next::Again) => Next::Again,
            (Next::Retry, _) | (_, Next::Retry) => Next::Retry,
            _ => Next::Wait,
        })
    }

    fn pass_to_dom0(&mut self) -> Result<Next, RelayError> {
        let (layout, program, dom0) = (&self.layout, self.program.memory(), self.dom0.memory());
        let from = layout.guest_to_dom0(program);
        let to = layout.guest_to_dom0(dom0);
        let way = &mut self.to_dom0;
        for _ in 0..AT_ONCE {
            let entry = match way.held.take() {
                Some(entry) => entry,
                None => match way.from.pop(&from)? {
                    Some(entry) => {
                        let message = ToHost::decode(&entry)?;
                        for (slot, area, len) in out(layout, message)? {
                            let source = area.of(layout, program, slot, len);
                            area.of(layout, dom0, slot, len).copy_from(&source);
                        }
                        message.encode()
                    }
                    None => return Ok(Next::Wait),
                },
            };
            if !way.to.push(&to, &entry)? {
                way.held = Some(entry);
                return Ok(Next::Retry);
            }
            self.dom0.notify()?;
        }
        Ok(Next::Again)
    }

    fn pass_to_program(&mut self) -> Result<Next, RelayError> {
        let (layout, program, dom0) = (&self.layout, self.program.memory(), self.dom0.memory());
        let from = layout.dom0_to_guest(dom0);
        let to = layout.dom0_to_guest(program);
        let way = &mut self.to_program;
        for _ in 0..AT_ONCE {
            let entry = match way.held.take() {
                Some(entry) => entry,
                None => match way.from.pop(&from)? {
                    Some(entry) => {
                        let message = ToGuest::decode(&entry)?;
                        if let ToGuest::Filled { slot, len } = message {
                            let (slot, len) = checked(layout, slot, len)?;
                            let source = Area::Payload.of(layout, dom0, slot, len);
                            let target = Area::Payload.of(layout, program, slot, len);
                            target.copy_from(&source);
                        }
                        message.encode()
                    }
                    None => return Ok(Next::Wait),
                },
            };
            if !way.to.push(&to, &entry)? {
                way.held = Some(entry);
                return Ok(Next::Retry);
            }
            self.program.notify()?;
        }
        Ok(Next::Again)
    }
}

/// A part of a slot.
#[derive(Clone, Copy)]
enum Area {
    Payload,
    Table,
}

impl Area {
    /// Its first `len` bytes, which it has.
    fn of<'a>(
        self,
        layout: &Layout,
        memory: &'a crate::memory::SharedRegion,
        slot: usize,
        len: usize,
    ) -> SharedBytes<'a> {
        let whole = match self {
            Area::Payload => layout.payload(memory, slot),
            Area::Table => layout.table(memory, slot),
        };
        whole.slice(0, len).expect("checked")
    }
}

/// What goes with a message of the program's.
fn out(layout: &Layout, message: ToHost) -> Result<Vec<(usize, Area, usize)>, RelayError> {
    Ok(match message {
        ToHost::Data {
            slot,
            payload,
            extents,
            ..
        } => {
            let (at, payload) = checked(layout, slot, payload)?;
            let most = layout.table_extents();
            let extents = usize::try_from(extents).ok().filter(|n| *n <= most);
            let extents = extents.ok_or_else(|| wrong(layout, slot, u64::MAX))?;
            vec![
                (at, Area::Payload, payload),
                (at, Area::Table, extents * EXTENT_BYTES),
            ]
        }
        ToHost::Failed { slot, len } => {
            let (at, len) = checked(layout, slot, len)?;
            vec![(at, Area::Payload, len)]
        }
        _ => Vec::new(),
    })
}

/// A slot and bytes of its payload, which it has.
fn checked(layout: &Layout, slot: u64, len: u64) -> Result<(usize, usize), RelayError> {
    let at = usize::try_from(slot).ok().filter(|at| *at < layout.slots());
    let bytes = usize::try_from(len)
        .ok()
        .filter(|len| *len <= layout.payload_size());
    at.zip(bytes).ok_or_else(|| wrong(layout, slot, len))
}

fn wrong(layout: &Layout, slot: u64, len: u64) -> RelayError {
    RelayError::Slot {
        slot,
        slots: layout.slots(),
        len,
        most: layout.payload_size(),
    }
}

#[cfg(test)]
mod tests;
