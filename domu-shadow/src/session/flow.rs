//! Buffer contents between the driver and the slots, several transfers in flight.

use crate::mover::{HostBytes, MoveError, Region, Restoring, Transfer};
use channel::guest::{Filled, Inbox, Outbox, Slot, StepError};
use channel::image::{BatchLayout, Digest, Extent};
use channel::memory::SharedBytes;
use std::collections::VecDeque;

/// Bytes of a slot, lent to the driver for one transfer.
struct SlotBytes {
    address: *mut u8,
    len: usize,
}

// SAFETY: the bytes lie in the shared pages, which stay mapped while the link is open; every transfer is
// waited for, by its drop at the latest, before the step that started it returns, and the link is only
// closed between steps. No reference to shared bytes is ever formed.
unsafe impl HostBytes for SlotBytes {
    fn as_ptr(&self) -> *mut u8 {
        self.address
    }

    fn len(&self) -> usize {
        self.len
    }
}

fn lend(bytes: SharedBytes<'_>) -> SlotBytes {
    SlotBytes {
        address: bytes.as_ptr(),
        len: bytes.len(),
    }
}

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

/// Fetches all contents of `objects` (id, bytes) into the driver's new buffers; bytes fetched.
pub(super) fn fetch_all(
    restoring: &Restoring,
    objects: &[(u64, u64)],
    inbox: &mut Inbox<'_>,
) -> Result<u64, StepError> {
    let most = inbox.payload_size() as u64;
    let mut writing: VecDeque<(Filled, Transfer<SlotBytes>)> = VecDeque::new();
    let mut bytes = 0;
    let pieces = objects.iter().flat_map(|(object, size)| {
        (0..size.div_ceil(most)).map(move |n| (*object, n * most, (size - n * most).min(most)))
    });
    for (object, offset, len) in pieces {
        while !inbox.fetch(object, offset, len as usize)? {
            // No slot is free: take an answer where one is due, else end the oldest write.
            if inbox.pending() > 0 {
                write_next(restoring, inbox, &mut writing)?;
            } else {
                end_oldest(inbox, &mut writing)?;
            }
        }
        bytes += len;
    }
    while inbox.pending() > 0 {
        write_next(restoring, inbox, &mut writing)?;
    }
    while !writing.is_empty() {
        end_oldest(inbox, &mut writing)?;
    }
    Ok(bytes)
}

fn write_next(
    restoring: &Restoring,
    inbox: &mut Inbox<'_>,
    writing: &mut VecDeque<(Filled, Transfer<SlotBytes>)>,
) -> Result<(), StepError> {
    let filled = inbox.wait()?;
    let bytes = lend(inbox.payload(&filled));
    let transfer = restoring
        .start_write(filled.object, filled.offset, bytes)
        .map_err(failed)?;
    writing.push_back((filled, transfer));
    Ok(())
}

fn end_oldest(
    inbox: &mut Inbox<'_>,
    writing: &mut VecDeque<(Filled, Transfer<SlotBytes>)>,
) -> Result<(), StepError> {
    if let Some((filled, transfer)) = writing.pop_front() {
        transfer.wait().map_err(failed)?;
        inbox.done(filled);
    }
    Ok(())
}

pub(super) fn failed(e: MoveError) -> StepError {
    StepError::Failed(e.to_string())
}
