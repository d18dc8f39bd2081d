//! How a workload fetches an image.

use super::conversation::Conversation;
use super::interrupt::Interrupt;
use super::slots::Slot;
use crate::memory::{SharedBytes, SharedPages};
use crate::message::{ToGuest, ToHost};

/// Bytes that have arrived in a slot.
#[derive(Debug)]
pub struct Filled {
    slot: Slot,
    /// The object they belong to.
    pub object: u64,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How many.
    pub len: usize,
    /// All of them are zero, and the slot's payload says nothing.
    pub zero: bool,
}

/// Where a restore's contents come from.
pub struct Fetcher<'a> {
    conversation: Conversation<'a>,
    asked: Vec<Asked>,
}

struct Asked {
    slot: u64,
    object: u64,
    offset: u64,
    len: usize,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(conversation: Conversation<'a>) -> Self {
        let asked = Vec::new();
        Fetcher {
            conversation,
            asked,
        }
    }

    /// The shared pages, for a driver that pins them.
    pub fn pages(&self) -> SharedPages {
        self.conversation.link.port.link().memory().pages()
    }

    /// Most bytes of one fetch.
    pub fn payload_size(&self) -> usize {
        self.conversation.link.port.layout().payload_size()
    }

    /// Asks for `len` bytes (at least one) of `object` at `offset`; `Ok(false)` where no slot is free.
    pub fn fetch(&mut self, object: u64, offset: u64, len: usize) -> Result<bool, Interrupt> {
        assert!(
            (1..=self.payload_size()).contains(&len),
            "a fetch of {len} bytes into slots of {}",
            self.payload_size()
        );
        let Some(slot) = self.conversation.link.slots.take() else {
            return Ok(false);
        };
        self.conversation.link.slots.asked(&slot);
        let slot = slot.index() as u64;
        self.conversation.send(ToHost::Fetch {
            slot,
            object,
            offset,
            len: len as u64,
        })?;
        self.asked.push(Asked {
            slot,
            object,
            offset,
            len,
        });
        Ok(true)
    }

    /// Whether a fetch can be made at once.
    pub fn has_slot(&self) -> bool {
        self.conversation.link.slots.has_free()
    }

    /// Fetches whose answer is still due.
    pub fn pending(&self) -> usize {
        self.asked.len()
    }

    /// Waits for the next answer.
    pub fn wait(&mut self) -> Result<Filled, Interrupt> {
        loop {
            let message = self.conversation.recv()?;
            let slots = &mut self.conversation.link.slots;
            let (ToGuest::Filled { slot, .. }
            | ToGuest::FilledZero { slot, .. }
            | ToGuest::FetchFailed { slot }) = message
            else {
                match message {
                    ToGuest::SlotFree { slot } => slots.copied(slot)?,
                    other => return Err(Interrupt::Unexpected(other)),
                }
                continue;
            };
            let at = self.asked.iter().position(|a| a.slot == slot);
            let Asked {
                object,
                offset,
                len,
                ..
            } = self
                .asked
                .swap_remove(at.ok_or(Interrupt::Unexpected(message))?);
            return match message {
                ToGuest::Filled { slot, len: filled }
                | ToGuest::FilledZero { slot, len: filled }
                    if filled == len as u64 =>
                {
                    Ok(Filled {
                        slot: slots.filled(slot)?,
                        object,
                        offset,
                        len,
                        zero: matches!(message, ToGuest::FilledZero { .. }),
                    })
                }
                ToGuest::FetchFailed { slot } => {
                    slots.unfilled(slot)?;
                    Err(Interrupt::Unserved {
                        object,
                        offset,
                        len,
                    })
                }
                other => Err(Interrupt::Unexpected(other)),
            };
        }
    }

    /// The bytes.
    pub fn payload(&self, filled: &Filled) -> SharedBytes<'_> {
        self.conversation
            .payload(&filled.slot)
            .slice(0, filled.len)
            .expect("checked when it was asked")
    }

    /// The bytes have been used: the slot is free again.
    pub fn done(&mut self, filled: Filled) {
        self.conversation.link.slots.put_back(filled.slot);
    }

    /// Tells dom0 that the step is alive: see [`super::BatchSender::busy`].
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.conversation.send(ToHost::Busy {})
    }
}
