//! The program runs again; the contents of its memory objects arrive.

use channel::memory::SharedPages;

use super::capture::Capture;
use super::error::MoveError;
use super::fetch_order::{FetchOrder, FetchRange};
use super::memory::{HostBytes, OwnedBytes};
use super::transfer::Transfer;
use crate::clock;
use crate::gate::Closed;
use crate::residency::{self, Resident};

/// How long the program's GPU calls waited, `CLOCK_BOOTTIME` ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    pub from: u64,
    pub to: u64,
}

/// Some contents are still absent. A capture cannot begin meanwhile.
pub struct PostCopy {
    capture: Capture,
    order: FetchOrder<dyn Resident>,
}

impl PostCopy {
    /// All objects exist again: opens the gate and expects their contents.
    pub(super) fn open(closed: Closed, mut capture: Capture, since: u64) -> (PostCopy, Blackout) {
        let mut objects = capture.parts.awaited();
        residency::expect(objects.iter().map(|object| &**object));
        objects.sort_by_key(|object| std::cmp::Reverse(object.residency().last_use()));
        let sized = objects
            .iter()
            .map(|object| (object.id(), object.bytes(), object));
        let order = FetchOrder::new(sized);
        drop(closed);
        let blackout = Blackout {
            from: since,
            to: clock::boot_ns(),
        };
        (PostCopy { capture, order }, blackout)
    }

    /// Has the driver pin `pages`, for transfers out of them at the bus's rate: [`Capture::pin`].
    pub fn pin(&mut self, pages: SharedPages) {
        self.capture.pin(pages);
    }

    /// What to fetch next, at most `most` bytes: what somebody waits for, else what was used last. `None`: everything
    /// has been asked for.
    pub fn next_range(&mut self, most: u64) -> Option<FetchRange> {
        self.order.next(&residency::waited_for(), most)
    }

    /// Starts to write a piece's contents. Several may be under way.
    ///
    /// # Errors
    /// `Gone` where the program has released the object, the driver's.
    pub fn start_write<M: HostBytes>(
        &self,
        piece: &FetchRange,
        from: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.capture.start_write(piece.object, piece.offset, from)
    }

    /// Starts to write zeros over a piece.
    ///
    /// # Errors
    /// As `start_write`.
    pub fn start_zero(&self, piece: &FetchRange) -> Result<Transfer<OwnedBytes>, MoveError> {
        self.capture
            .start_zero(piece.object, piece.offset, piece.len)
    }

    /// A piece's transfer has ended, or its object is gone.
    pub fn arrived(&mut self, piece: &FetchRange) {
        if let Some(object) = self.order.done(piece) {
            residency::arrived(&*object);
        }
    }

    /// After a break: what was asked for and has not arrived is asked for again, and no page of the link stays pinned. No
    /// transfer may be under way.
    pub fn rewind(&mut self) {
        self.capture.close();
        self.order.rewind();
    }

    /// Everything has arrived.
    pub fn finish(mut self) {
        residency::all_arrived();
        self.capture.close();
    }
}
