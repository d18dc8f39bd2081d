//! Capturing while the program runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::engine::{Engine, Transfer, root_buffers};
use super::memory::HostBytes;
use super::quiesced::{self, Quiesced};
use super::{MoveError, Region, Round, dirty};
use crate::core::handle::Object;
use crate::core::mem::Mem;
use crate::core::movable;

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Only one move at a time; marking is on while this lives.
struct Tracking(());

impl Drop for Tracking {
    fn drop(&mut self) {
        dirty::track(false);
        ACTIVE.store(false, Ordering::Release);
    }
}

/// A capture under way. Dropping it ends it; the program notices nothing.
pub struct Capture(Box<State>);

struct State {
    engine: Engine,
    /// Buffers whose regions were handed out.
    sent: BTreeSet<u64>,
    rounds: u32,
    _tracking: Tracking,
}

/// Starts a capture.
///
/// # Errors
/// `Blocked`, or `Busy` while another one lives.
pub fn begin() -> Result<Capture, MoveError> {
    if let Some(reason) = movable::blocked() {
        return Err(MoveError::Blocked(reason));
    }
    if ACTIVE.swap(true, Ordering::AcqRel) {
        return Err(MoveError::Busy);
    }
    let tracking = Tracking(());
    dirty::track(true);
    let state = State {
        engine: Engine::default(),
        sent: BTreeSet::new(),
        rounds: 0,
        _tracking: tracking,
    };
    Ok(Capture(Box::new(state)))
}

impl Capture {
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The first time: every buffer. Later: those written since, and those whose writers had not ended.
    pub fn round(&mut self) -> Round {
        let buffers = root_buffers();
        let first = self.0.rounds == 0;
        self.0.rounds += 1;
        let marked = dirty::take(&buffers, first);
        self.list(&buffers, &marked)
    }

    /// Bytes that the next round would list now.
    pub fn dirty_bytes(&self) -> u64 {
        let buffers = root_buffers();
        let listed = |mem: &&Arc<Mem>| mem.is_written() || !self.0.sent.contains(&mem.slot().id());
        buffers
            .iter()
            .filter(listed)
            .map(|mem| mem.size as u64)
            .sum()
    }

    /// What is left when nothing runs any more.
    pub(super) fn last_round(&mut self) -> Round {
        let buffers = root_buffers();
        // The program may have written host memory behind our back, as it can with a driver on a CPU.
        let marked = |mem: &&Arc<Mem>| {
            mem.take_written() | mem.has_host_storage() | !self.0.sent.contains(&mem.slot().id())
        };
        let marked: Vec<_> = buffers.iter().filter(marked).map(Arc::clone).collect();
        self.list(&buffers, &marked)
    }

    fn list(&mut self, buffers: &[Arc<Mem>], marked: &[Arc<Mem>]) -> Round {
        let live: BTreeSet<u64> = buffers.iter().map(|mem| mem.slot().id()).collect();
        let dropped: Vec<u64> = self.0.sent.difference(&live).copied().collect();
        self.0.sent.retain(|object| live.contains(object));
        self.0.sent.extend(marked.iter().map(|mem| mem.slot().id()));
        self.0.engine.know(buffers);
        let regions = marked.iter().map(|mem| {
            let size = mem.size as u64;
            Region {
                object: mem.slot().id(),
                object_size: size,
                offset: 0,
                len: size,
            }
        });
        Round {
            regions: regions.collect(),
            dropped,
        }
    }

    /// Starts to read `to.len()` bytes of a buffer of the last round, at `offset`. Several may be under way.
    ///
    /// # Errors
    /// `Gone` if the program released the buffer, `OutOfRange`, the driver's.
    pub fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.0.engine.read(object, offset, to)
    }

    /// Reads and waits: [`Capture::start_read`] and [`Transfer::wait`].
    ///
    /// # Errors
    /// As `start_read`.
    pub fn read<M: HostBytes>(&self, object: u64, offset: u64, to: M) -> Result<M, MoveError> {
        self.start_read(object, offset, to)?.wait()
    }

    /// Closes the gate and waits until nothing runs. On failure the gate is open again and the capture goes on.
    ///
    /// # Errors
    /// `Blocked`, `Busy`, or `NotQuiet` with the reason when it takes longer than `timeout`.
    pub fn quiesce(self, timeout: Duration) -> Result<Quiesced, (Capture, MoveError)> {
        quiesced::quiesce(self, timeout)
    }
}
