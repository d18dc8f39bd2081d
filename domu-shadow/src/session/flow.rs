//! Buffer contents from the driver into the slots, several transfers in flight.

use super::lend::{SlotBytes, lend};
use crate::mover::{HostBytes, MoveError, Region, Transfer};
use channel::guest::{Outbox, Slot, StepError};
use channel::image::{BatchLayout, Digest, Extent};
use std::collections::VecDeque;

/// A slot whose bytes are on their way from the driver.
struct Filling {
    slot: Slot,
    plan: BatchLayout,
    transfers: Vec<Transfer<SlotBytes>>,
}

/// Starts to read from the running or resting program.
pub(super) trait Reader {
    fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError>;
}

impl Reader for crate::mover::Capture {
    fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.start_read(object, offset, to)
    }
}

impl Reader for crate::mover::Quiesced {
    fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.start_read(object, offset, to)
    }
}

/// Sends buffers' contents; small ones share a slot.
pub(super) struct Sender<'o, 'b> {
    out: &'o mut Outbox<'b>,
    filling: Option<Filling>,
    reading: VecDeque<Filling>,
    bytes: u64,
}

impl<'o, 'b> Sender<'o, 'b> {
    pub(super) fn new(out: &'o mut Outbox<'b>) -> Self {
        Sender {
            out,
            filling: None,
            reading: VecDeque::new(),
            bytes: 0,
        }
    }

    /// A slot with room for an extent: the one being filled, else a fresh one.
    fn room(&mut self) -> Result<&mut Filling, StepError> {
        if self.filling.as_ref().is_some_and(|f| f.plan.room() < 8) {
            self.reading.extend(self.filling.take());
        }
        if self.filling.is_none() {
            // Were all slots ours, waiting for a free one would never end.
            while self.reading.len() >= self.out.slots() {
                self.send_oldest()?;
            }
            let slot = self.out.slot()?;
            self.filling = Some(Filling {
                slot,
                plan: self.out.plan(),
                transfers: Vec::new(),
            });
        }
        Ok(self.filling.as_mut().expect("filled above"))
    }

    fn send_oldest(&mut self) -> Result<(), StepError> {
        let Some(filling) = self.reading.pop_front() else {
            return Ok(());
        };
        for transfer in filling.transfers {
            transfer.wait().map_err(failed)?;
        }
        if filling.plan.is_empty() {
            self.out.put_back(filling.slot);
            return Ok(());
        }
        Ok(self.out.send(filling.slot, &filling.plan)?)
    }

    /// Sends one region. A buffer that the program released meanwhile is left out: the next round says so.
    pub(super) fn region(&mut self, from: &impl Reader, region: &Region) -> Result<(), StepError> {
        let mut offset = region.offset;
        let end = region.offset + region.len;
        while offset < end {
            let filling = self.room()?;
            let len = (end - offset).min(filling.plan.room() as u64);
            let extent = Extent::data(
                region.object,
                region.object_size,
                offset,
                len as u32,
                Digest::NONE,
            );
            let mut plan = filling.plan.clone();
            let placed = plan
                .push(extent)
                .ok_or_else(|| StepError::Failed("an extent fits no slot".into()))?;
            let slot = &self.filling.as_ref().expect("room() made it").slot;
            let to = self.out.payload(slot).slice(placed.start, len as usize);
            let to =
                to.ok_or_else(|| StepError::Failed("an extent lies outside its slot".into()))?;
            match from.start_read(region.object, offset, lend(to)) {
                Ok(transfer) => {
                    let filling = self.filling.as_mut().expect("room() made it");
                    filling.plan = plan;
                    filling.transfers.push(transfer);
                }
                Err(MoveError::Gone(_)) => return Ok(()),
                Err(e) => return Err(failed(e)),
            }
            offset += len;
            self.bytes += len;
        }
        Ok(())
    }

    /// Says that a buffer is gone.
    pub(super) fn dropped(&mut self, object: u64) -> Result<(), StepError> {
        let filling = self.room()?;
        if filling.plan.push(Extent::drop_object(object)).is_some() {
            return Ok(());
        }
        Err(StepError::Failed("an extent fits no slot".into()))
    }

    /// Sends an object whose bytes are already in memory (the manifest).
    pub(super) fn object(&mut self, object: u64, bytes: &[u8]) -> Result<(), StepError> {
        let mut offset = 0;
        while offset < bytes.len() {
            let filling = self.room()?;
            let len = (bytes.len() - offset).min(filling.plan.room());
            let extent = Extent::data(
                object,
                bytes.len() as u64,
                offset as u64,
                len as u32,
                Digest::NONE,
            );
            let placed = filling
                .plan
                .push(extent)
                .ok_or_else(|| StepError::Failed("an extent fits no slot".into()))?;
            let slot = &self.filling.as_ref().expect("room() made it").slot;
            let to = self.out.payload(slot).slice(placed.start, len);
            to.ok_or_else(|| StepError::Failed("an extent lies outside its slot".into()))?
                .write(&bytes[offset..offset + len]);
            offset += len;
        }
        Ok(())
    }

    /// Sends what is left; buffer bytes sent in all.
    pub(super) fn finish(mut self) -> Result<u64, StepError> {
        self.reading.extend(self.filling.take());
        while !self.reading.is_empty() {
            self.send_oldest()?;
        }
        Ok(self.bytes)
    }
}

pub(super) fn failed(e: MoveError) -> StepError {
    StepError::Failed(e.to_string())
}
