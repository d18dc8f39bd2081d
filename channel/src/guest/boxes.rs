//! What a workload sends through and fetches from.

use super::interrupt::Interrupt;
use super::slots::Slot;
use super::traffic::Traffic;
use crate::image::BatchLayout;
use crate::layout::Layout;
use crate::memory::{SharedBytes, SharedPages};
use crate::message::{ToGuest, ToHost};

/// Shows dom0 that a step without traffic of its own is alive.
pub struct Pulse<'a>(Traffic<'a>);

impl<'a> Pulse<'a> {
    pub(super) fn new(traffic: Traffic<'a>) -> Self {
        Pulse(traffic)
    }

    /// As [`Outbox::busy`].
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.0.send(ToHost::Busy {})
    }
}

/// Where a capture's batches go.
pub struct Outbox<'a> {
    traffic: Traffic<'a>,
    round: u32,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(traffic: Traffic<'a>, round: u32) -> Self {
        Outbox { traffic, round }
    }

    fn layout(&self) -> &Layout {
        self.traffic.line.port.layout()
    }

    /// Slots there are in all: how many transfers can be in flight.
    pub fn slots(&self) -> usize {
        self.layout().slots()
    }

    /// Payload bytes of a slot.
    pub fn payload_size(&self) -> usize {
        self.layout().payload_size()
    }

    /// Extents of a slot's table.
    pub fn table_extents(&self) -> usize {
        self.layout().table_extents()
    }

    /// The shared pages, for a driver that pins them.
    pub fn pages(&self) -> SharedPages {
        self.traffic.line.port.link().memory().pages()
    }

    /// Takes a free slot, if there is one now.
    pub fn try_slot(&mut self) -> Result<Option<Slot>, Interrupt> {
        loop {
            if let Some(slot) = self.traffic.line.slots.take() {
                return Ok(Some(slot));
            }
            match self.traffic.try_recv()? {
                Some(ToGuest::SlotFree { slot }) => self.traffic.line.slots.copied(slot)?,
                Some(other) => return Err(Interrupt::Unexpected(other)),
                None => return Ok(None),
            }
        }
    }

    /// Takes a free slot; waits until dom0 has drained one.
    pub fn slot(&mut self) -> Result<Slot, Interrupt> {
        loop {
            if let Some(slot) = self.traffic.line.slots.take() {
                return Ok(slot);
            }
            match self.traffic.recv()? {
                ToGuest::SlotFree { slot } => self.traffic.line.slots.copied(slot)?,
                other => return Err(Interrupt::Unexpected(other)),
            }
        }
    }

    /// The slot's payload area, to be filled.
    ///
    /// # Panics
    /// As all that take a [`Slot`], when it is of an earlier step.
    pub fn payload(&self, slot: &Slot) -> SharedBytes<'_> {
        self.traffic.payload(slot)
    }

    /// An empty plan for a slot's batch.
    pub fn plan(&self) -> BatchLayout {
        BatchLayout::new(self.payload_size(), self.table_extents())
    }

    /// Sends a slot whose payload has been filled as `plan` says.
    pub fn send(&mut self, slot: Slot, plan: &BatchLayout) -> Result<(), Interrupt> {
        let line = &mut *self.traffic.line;
        line.slots.sent(&slot);
        let bytes = plan.table();
        let memory = line.port.link().memory();
        let table = line.port.layout().table(memory, slot.index());
        table
            .slice(0, bytes.len())
            .expect("a plan has no more extents than a table holds")
            .write(&bytes);
        self.traffic.send(ToHost::Data {
            slot: slot.index() as u64,
            round: self.round.into(),
            payload: plan.payload_len() as u64,
            extents: plan.extents().len() as u64,
        })
    }

    /// Puts an unused slot back. (One that is dropped is free again after the step.)
    pub fn put_back(&mut self, slot: Slot) {
        self.traffic.line.slots.put_back(slot);
    }

    /// Tells dom0 that the step is alive; for waits that may last longer than its patience. Every few
    /// seconds is enough, and more than ten minutes of it is too much.
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.traffic.send(ToHost::Busy {})
    }

    /// An error where dom0 wants the step to end: for work during which nothing is sent or waited for.
    pub fn check(&mut self) -> Result<(), Interrupt> {
        if let Some(message) = self.traffic.try_recv()? {
            match message {
                ToGuest::SlotFree { slot } => self.traffic.line.slots.copied(slot)?,
                other => return Err(Interrupt::Unexpected(other)),
            }
        }
        self.traffic.look_up()
    }
}

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
pub struct Inbox<'a> {
    traffic: Traffic<'a>,
    asked: Vec<Asked>,
}

struct Asked {
    slot: u64,
    object: u64,
    offset: u64,
    len: usize,
}

impl<'a> Inbox<'a> {
    pub(super) fn new(traffic: Traffic<'a>) -> Self {
        let asked = Vec::new();
        Inbox { traffic, asked }
    }

    /// The shared pages, for a driver that pins them.
    pub fn pages(&self) -> SharedPages {
        self.traffic.line.port.link().memory().pages()
    }

    /// Most bytes of one fetch.
    pub fn payload_size(&self) -> usize {
        self.traffic.line.port.layout().payload_size()
    }

    /// Asks for `len` bytes (at least one) of `object` at `offset`; `Ok(false)` where no slot is free.
    pub fn fetch(&mut self, object: u64, offset: u64, len: usize) -> Result<bool, Interrupt> {
        assert!(
            (1..=self.payload_size()).contains(&len),
            "a fetch of {len} bytes into slots of {}",
            self.payload_size()
        );
        let Some(slot) = self.traffic.line.slots.take() else {
            return Ok(false);
        };
        self.traffic.line.slots.asked(&slot);
        let slot = slot.index() as u64;
        self.traffic.send(ToHost::Fetch {
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
        self.traffic.line.slots.has_free()
    }

    /// Fetches whose answer is still due.
    pub fn pending(&self) -> usize {
        self.asked.len()
    }

    /// Waits for the next answer.
    pub fn wait(&mut self) -> Result<Filled, Interrupt> {
        loop {
            let message = self.traffic.recv()?;
            let slots = &mut self.traffic.line.slots;
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
        self.traffic
            .payload(&filled.slot)
            .slice(0, filled.len)
            .expect("checked when it was asked")
    }

    /// The bytes have been used: the slot is free again.
    pub fn done(&mut self, filled: Filled) {
        self.traffic.line.slots.put_back(filled.slot);
    }

    /// Tells dom0 that the step is alive: see [`Outbox::busy`].
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.traffic.send(ToHost::Busy {})
    }
}
