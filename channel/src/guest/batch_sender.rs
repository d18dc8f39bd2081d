//! How a workload sends a capture.

use super::conversation::Conversation;
use super::interrupt::Interrupt;
use super::slots::Slot;
use crate::image::BatchLayout;
use crate::layout::Layout;
use crate::memory::{SharedBytes, SharedPages};
use crate::message::{ToGuest, ToHost};

/// Where a capture's batches go.
pub struct BatchSender<'a> {
    conversation: Conversation<'a>,
    round: u32,
}

impl<'a> BatchSender<'a> {
    pub(super) fn new(conversation: Conversation<'a>, round: u32) -> Self {
        BatchSender {
            conversation,
            round,
        }
    }

    fn layout(&self) -> &Layout {
        self.conversation.link.port.layout()
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
        self.conversation.link.port.link().memory().pages()
    }

    /// Takes a free slot, if there is one now.
    pub fn try_slot(&mut self) -> Result<Option<Slot>, Interrupt> {
        loop {
            if let Some(slot) = self.conversation.link.slots.take() {
                return Ok(Some(slot));
            }
            match self.conversation.try_recv()? {
                Some(ToGuest::SlotFree { slot }) => self.conversation.link.slots.copied(slot)?,
                Some(other) => return Err(Interrupt::Unexpected(other)),
                None => return Ok(None),
            }
        }
    }

    /// Takes a free slot; waits until dom0 has drained one.
    pub fn slot(&mut self) -> Result<Slot, Interrupt> {
        loop {
            if let Some(slot) = self.conversation.link.slots.take() {
                return Ok(slot);
            }
            match self.conversation.recv()? {
                ToGuest::SlotFree { slot } => self.conversation.link.slots.copied(slot)?,
                other => return Err(Interrupt::Unexpected(other)),
            }
        }
    }

    /// The slot's payload area, to be filled.
    ///
    /// # Panics
    /// As all that take a [`Slot`], when it is of an earlier step.
    pub fn payload(&self, slot: &Slot) -> SharedBytes<'_> {
        self.conversation.payload(slot)
    }

    /// An empty plan for a slot's batch.
    pub fn plan(&self) -> BatchLayout {
        BatchLayout::new(self.payload_size(), self.table_extents())
    }

    /// Sends a slot whose payload has been filled as `plan` says.
    pub fn send(&mut self, slot: Slot, plan: &BatchLayout) -> Result<(), Interrupt> {
        let link = &mut *self.conversation.link;
        link.slots.sent(&slot);
        let bytes = plan.table();
        let memory = link.port.link().memory();
        let table = link.port.layout().table(memory, slot.index());
        table
            .slice(0, bytes.len())
            .expect("a plan has no more extents than a table holds")
            .write(&bytes);
        self.conversation.send(ToHost::Data {
            slot: slot.index() as u64,
            round: self.round.into(),
            payload: plan.payload_len() as u64,
            extents: plan.extents().len() as u64,
        })
    }

    /// Puts an unused slot back. (One that is dropped is free again after the step.)
    pub fn put_back(&mut self, slot: Slot) {
        self.conversation.link.slots.put_back(slot);
    }

    /// Tells dom0 that the step is alive, where it may wait longer than dom0's time-out. Every few seconds is
    /// enough; dom0 gives up after about ten minutes of it.
    pub fn busy(&mut self) -> Result<(), Interrupt> {
        self.conversation.send(ToHost::Busy {})
    }

    /// An error where dom0 wants the step to end: for work during which nothing is sent or waited for.
    pub fn check(&mut self) -> Result<(), Interrupt> {
        if let Some(message) = self.conversation.try_recv()? {
            match message {
                ToGuest::SlotFree { slot } => self.conversation.link.slots.copied(slot)?,
                other => return Err(Interrupt::Unexpected(other)),
            }
        }
        self.conversation.look_up()
    }
}
