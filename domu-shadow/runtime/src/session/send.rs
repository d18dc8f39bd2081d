//! Buffer contents from the driver into the slots, several transfers in flight.

use super::slot_bytes::{SlotBytes, lend, place};
use super::step::{SIGN_OF_LIFE, failed, go_on};
use crate::delta::{ExtentKind, FilledPlace, PassReport, Place, Sink};
use crate::mover::{Contents, MoveError, Region, Round, Transfer};
use crate::poll;
use channel::guest::{BatchSender, Slot, StepError};
use channel::image::{BatchLayout, Digest, Extent};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A slot whose bytes are on their way from the driver.
struct Filling {
    slot: Slot,
    plan: BatchLayout,
    transfers: Vec<Transfer<SlotBytes>>,
}

impl Filling {
    fn is_done(&self) -> bool {
        self.transfers.iter().all(Transfer::is_done)
    }
}

/// Sends buffers' contents; small ones share a slot.
pub(super) struct Sender<'o, 'b> {
    out: &'o mut BatchSender<'b>,
    filling: Option<Filling>,
    reading: VecDeque<Filling>,
    /// Slots that the delta engine has, by their token.
    lent: BTreeMap<u64, Slot>,
    tokens: u64,
    bytes: u64,
    alive: Instant,
}

impl<'o, 'b> Sender<'o, 'b> {
    pub(super) fn new(out: &'o mut BatchSender<'b>) -> Self {
        Sender {
            out,
            filling: None,
            reading: VecDeque::new(),
            lent: BTreeMap::new(),
            tokens: 0,
            bytes: 0,
            alive: Instant::now(),
        }
    }

    /// A slot with room for an extent: the one being filled, else a fresh one.
    fn room(&mut self) -> Result<&mut Filling, StepError> {
        if self.filling.as_ref().is_some_and(|f| f.plan.room() < 8) {
            self.reading.extend(self.filling.take());
        }
        if self.filling.is_none() {
            let slot = self.free_slot()?;
            self.filling = Some(Filling {
                slot,
                plan: self.out.plan(),
                transfers: Vec::new(),
            });
        }
        Ok(self.filling.as_mut().expect("filled above"))
    }

    /// A free slot. What has arrived meanwhile is sent: dom0 drains it while the next is read.
    fn free_slot(&mut self) -> Result<Slot, StepError> {
        loop {
            go_on()?;
            while self.reading.front().is_some_and(Filling::is_done) {
                self.send_oldest()?;
            }
            if let Some(slot) = self.out.try_slot()? {
                return Ok(slot);
            }
            if self.reading.is_empty() {
                return Ok(self.out.slot()?);
            }
            self.send_oldest()?;
        }
    }

    fn send_oldest(&mut self) -> Result<(), StepError> {
        let Some(filling) = self.reading.pop_front() else {
            return Ok(());
        };
        poll::until(|| Ok(filling.is_done()), || self.sign_of_life())?;
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
    pub(super) fn region(&mut self, from: &Contents, region: &Region) -> Result<(), StepError> {
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

    /// Sends all that is under way.
    fn flush(&mut self) -> Result<(), StepError> {
        self.reading.extend(self.filling.take());
        while !self.reading.is_empty() {
            self.send_oldest()?;
        }
        Ok(())
    }

    /// Sends what is left; buffer bytes sent in all.
    pub(super) fn finish(&mut self) -> Result<u64, StepError> {
        self.flush()?;
        Ok(self.bytes)
    }

    /// Sends a round: `changed` has the delta engine send its part to the sink it is given.
    pub(super) fn round(
        &mut self,
        from: &mut Contents,
        round: &Round,
    ) -> Result<PassReport, StepError> {
        round
            .dropped
            .iter()
            .try_for_each(|object| self.dropped(*object))?;
        round
            .regions
            .iter()
            .try_for_each(|region| self.region(from, region))?;
        // No block is held by what was begun: the program may wait for it, and a pass ends for that.
        self.flush()?;
        let sent = from.send_changed(round, self).map_err(failed)?;
        // Those of a pass that the driver has ended.
        for slot in std::mem::take(&mut self.lent).into_values() {
            self.out.put_back(slot);
        }
        sent.whole
            .iter()
            .try_for_each(|region| self.region(from, region))?;
        Ok(sent.report)
    }

    fn lend_slot(&mut self) -> Result<Option<Place>, StepError> {
        // What was begun before has slots that only sending brings back.
        self.flush()?;
        Ok(self.out.try_slot()?.map(|slot| {
            let payload = self.out.payload(&slot);
            self.tokens += 1;
            let (token, extents) = (self.tokens, self.out.table_extents());
            let place = place(token, payload, extents);
            self.lent.insert(token, slot);
            place
        }))
    }

    fn send_piece(&mut self, piece: &FilledPlace) -> Result<(), StepError> {
        let odd = |what| StepError::failed(format!("the delta engine's piece: {what}"));
        let slot = self.lent.remove(&piece.token);
        let slot = slot.ok_or_else(|| odd("no such place"))?;
        let mut plan = self.out.plan();
        for extent in &piece.extents {
            let (object, size) = (extent.buffer, extent.buffer_size);
            let extent = match extent.kind {
                ExtentKind::Zero => Extent::zero(object, size, extent.offset, extent.len),
                ExtentKind::Data => {
                    self.bytes += u64::from(extent.len);
                    Extent::data(object, size, extent.offset, extent.len, Digest::NONE)
                }
            };
            plan.push(extent)
                .ok_or_else(|| odd("an extent fits no slot"))?;
        }
        if plan.payload_len() != piece.payload_len {
            return Err(odd("its bytes lie elsewhere"));
        }
        self.alive = Instant::now();
        Ok(self.out.send(slot, &plan)?)
    }

    fn sign_of_life(&mut self) -> Result<(), StepError> {
        self.out.check()?;
        if self.alive.elapsed() >= SIGN_OF_LIFE {
            self.alive = Instant::now();
            self.out.busy()?;
        }
        Ok(())
    }
}

impl Sink for Sender<'_, '_> {
    fn place(&mut self) -> Result<Option<Place>, StepError> {
        self.lend_slot()
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        self.send_piece(&piece)
    }

    fn alive(&mut self) -> Result<(), StepError> {
        self.sign_of_life()
    }
}
