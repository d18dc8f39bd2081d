//! The program runs again; the contents of its memory objects arrive.

use channel::memory::SharedPages;

use super::MoveError;
use super::capture::Capture;
use super::coming::{Piece, Plan};
use super::engine::{Transfer, root_buffers};
use super::memory::{HostBytes, OwnedBytes};
use super::quiesced::boot_time;
use crate::core::handle::Object;
use crate::core::mem::Mem;
use crate::core::presence;
use crate::core::svm;
use crate::gate::Closed;

/// How long the program's OpenCL calls waited, `CLOCK_BOOTTIME` ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    pub from: u64,
    pub to: u64,
}

/// Some contents are still absent. A capture cannot begin meanwhile.
pub struct Arriving {
    capture: Capture,
    plan: Plan<Mem>,
}

impl Arriving {
    /// All objects exist again: opens the gate and expects their contents.
    pub(super) fn open(closed: Closed, capture: Capture, since: u64) -> (Arriving, Blackout) {
        let mut mems = root_buffers();
        capture.engine().know(&mems);
        // Objects without a byte have all their contents. Those over shared virtual memory of ours do, too: it came
        // with the process, and the program writes it by other ways than this object.
        mems.retain(|mem| mem.size > 0 && !svm::contains(mem.program_pointer() as usize));
        presence::expect(mems.iter().map(|mem| &**mem));
        mems.sort_by_key(|mem| std::cmp::Reverse(mem.presence().last_use()));
        let plan = Plan::new(
            mems.iter()
                .map(|mem| (mem.slot().id(), mem.size as u64, mem)),
        );
        drop(closed);
        let blackout = Blackout {
            from: since,
            to: boot_time(),
        };
        (Arriving { capture, plan }, blackout)
    }

    /// Has the driver pin `pages`, for transfers out of them at the bus's rate: [`Capture::pin`].
    pub fn pin(&mut self, pages: SharedPages) {
        self.capture.pin(pages);
    }

    /// What to fetch next, at most `most` bytes: what somebody waits for, else what was used last. `None`: everything
    /// has been asked for.
    pub fn next_piece(&mut self, most: u64) -> Option<Piece> {
        self.plan.next(&presence::waited_for(), most)
    }

    /// Starts to write a piece's contents. Several may be under way.
    ///
    /// # Errors
    /// `Gone` where the program has released the object, the driver's.
    pub fn start_write<M: HostBytes>(
        &self,
        piece: &Piece,
        from: M,
    ) -> Result<Transfer<M>, MoveError> {
        let engine = self.capture.engine();
        engine.write(piece.object, piece.offset, from)
    }

    /// Starts to write zeros over a piece.
    ///
    /// # Errors
    /// As `start_write`.
    pub fn start_zero(&self, piece: &Piece) -> Result<Transfer<OwnedBytes>, MoveError> {
        self.capture
            .engine()
            .write_zero(piece.object, piece.offset, piece.len)
    }

    /// A piece's transfer has ended, or its object is gone.
    pub fn arrived(&mut self, piece: &Piece) {
        if let Some(mem) = self.plan.done(piece) {
            presence::arrived(&mem);
        }
    }

    /// After a break: what was asked for and has not arrived is asked for again, and no page of the link stays pinned. No
    /// transfer may be under way.
    pub fn rewind(&mut self) {
        self.capture.engine().close();
        self.plan.rewind();
    }

    /// Everything has arrived.
    pub fn finish(self) {
        presence::all_arrived();
        self.capture.engine().close();
    }
}
