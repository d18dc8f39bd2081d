//! Capturing while the program runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use channel::guest::Whole;
use channel::memory::SharedPages;

use super::comparing::{Comparing, Pace};
use super::dirty::{Taken, Tracking};
use super::engine::{Engine, Transfer, root_buffers};
use super::memory::HostBytes;
use super::quiesced::{self, Quiesced};
use super::way_back::WayBack;
use super::{MoveError, Region, Round, Sent};
use crate::core::handle::{self, Object};
use crate::core::mem::Mem;
use crate::core::movable;
use crate::core::program::Program;
use crate::delta::{Sink, SinkError};
use crate::driver::foreign;
use crate::fork;

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// The round in which all that commands named is compared, whether or not their arguments say that they write it.
const VALIDATION: u32 = 1;

/// Only one move at a time.
struct Alone(());

impl Alone {
    fn take() -> Result<Alone, MoveError> {
        if ACTIVE.swap(true, Ordering::AcqRel) {
            return Err(MoveError::Busy);
        }
        Ok(Alone(()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        ACTIVE.store(false, Ordering::Release);
    }
}

/// A capture under way. Dropping it ends it; the program notices nothing.
pub struct Capture(Box<State>);

struct State {
    /// Released first: its objects belong to the program's contexts, as the lanes do.
    comparing: Option<Comparing>,
    engine: Engine,
    /// Buffers that were handed out.
    sent: BTreeSet<u64>,
    /// Buffers that changed although no command said that it writes them.
    suspects: BTreeSet<u64>,
    rounds: u32,
    tracking: Tracking,
    /// Released last.
    _alone: Alone,
}

/// Starts a capture of whole buffers.
///
/// # Errors
/// `Blocked`, or `Busy` while another one lives.
pub fn begin() -> Result<Capture, MoveError> {
    foreign::look_again();
    if let Some(reason) = movable::blocked() {
        return Err(MoveError::Blocked(reason));
    }
    // Looked at now, so that nothing is sent in vain, and taken when the gate closes.
    drop(WayBack::take()?);
    let alone = Alone::take()?;
    let state = State {
        comparing: None,
        engine: Engine::default(),
        sent: BTreeSet::new(),
        suspects: BTreeSet::new(),
        rounds: 0,
        tracking: Tracking::begin(),
        _alone: alone,
    };
    Ok(Capture(Box::new(state)))
}

impl State {
    fn was_sent(&self, mem: &Mem) -> bool {
        self.sent.contains(&mem.slot().id())
    }

    fn compares(&self, mem: &Mem) -> bool {
        let comparing = self.comparing.as_ref();
        comparing.is_some_and(|comparing| comparing.compares(mem))
    }

    /// Whether a kernel has used it that may write what it should not.
    fn is_suspect(&self, mem: &Mem) -> bool {
        mem.is_used() && self.suspects.contains(&mem.slot().id())
    }

    /// Whether a round lists it.
    fn is_due(&self, mem: &Mem) -> bool {
        mem.is_written() || !self.was_sent(mem) || self.is_suspect(mem)
    }

    /// Whether the stop lists it. By then no hint counts: what is compared is compared if any command named it.
    fn is_due_at_last(&self, mem: &Mem) -> bool {
        // The program may have written host memory behind our back, as it can with a driver on a CPU.
        let always = mem.is_written() || mem.has_host_storage() || !self.was_sent(mem);
        // A kernel cannot cast away that an image or a whole buffer is read-only.
        always
            || mem.is_used() && mem.is_buffer() && (self.compares(mem) || mem.kernels_may_write())
    }

    fn list(&mut self, buffers: &[Arc<Mem>], taken: Vec<Taken>) -> Round {
        let live: BTreeSet<u64> = buffers.iter().map(|mem| mem.slot().id()).collect();
        let dropped: Vec<u64> = self.sent.difference(&live).copied().collect();
        self.sent.retain(|object| live.contains(object));
        self.sent
            .extend(taken.iter().map(|taken| taken.mem.slot().id()));
        self.suspects.retain(|object| live.contains(object));
        self.engine.know(buffers);
        let (compared, whole): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .partition(|taken| self.compares(&taken.mem));
        Round {
            regions: whole
                .iter()
                .map(|taken| Region::all_of(&taken.mem))
                .collect(),
            dropped,
            compared,
        }
    }
}

impl Capture {
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Has the driver pin `pages`, for transfers into them at the bus's rate, in every context with buffers. Where one
    /// refuses, transfers are slower.
    pub fn pin(&mut self, pages: SharedPages) {
        let contexts = root_buffers()
            .into_iter()
            .map(|mem| Arc::clone(&mem.context));
        self.0.engine.pin(pages, contexts);
    }

    /// From the next round on buffers are compared on the device where that can be done, and only what changed in
    /// them is sent: [`Capture::send_changed`]. To be called before each round; builds what is missing.
    pub fn compare(&mut self) {
        let comparing = self.0.comparing.get_or_insert_default();
        comparing.prepare(&root_buffers());
    }

    /// Fetches what the stop and the way back will need of programs, one after the other while `go_on` says so: the stop
    /// then asks for what was built since. To be called before each round, and before the stop.
    pub fn prepare(&mut self, go_on: impl Fn() -> bool) {
        let programs = handle::all::<Program>();
        let programs = programs.iter().take_while(|_| go_on());
        programs.for_each(|program| {
            let _beside = fork::beside();
            program.keep_binaries();
        });
    }

    /// The first time: every buffer. Later: those written since, and those whose writers had not ended.
    pub fn round(&mut self) -> Round {
        let buffers = root_buffers();
        let state = &mut *self.0;
        let validate = state.rounds == VALIDATION;
        state.rounds += 1;
        let due =
            |mem: &&Arc<Mem>| state.is_due(mem) || validate && mem.is_used() && state.compares(mem);
        let due = buffers.iter().filter(due).cloned().collect();
        let taken = state.tracking.take(&buffers, due);
        state.list(&buffers, taken)
    }

    /// What is left when nothing runs any more.
    pub(super) fn last_round(&mut self) -> Round {
        let buffers = root_buffers();
        let state = &mut *self.0;
        let due = buffers.iter().filter(|mem| state.is_due_at_last(mem));
        let taken = due.cloned().map(Taken::from).collect();
        state.list(&buffers, taken)
    }

    /// Nothing of the program's runs any more, nor will for as long as the gate is closed.
    pub(super) fn at_rest(&mut self) {
        self.0.tracking.at_rest();
    }

    /// Sends what changed in the buffers that `round` says are compared.
    ///
    /// # Errors
    /// `Sink` with what the sink said. Then, as after any failure to send a round, what was sent is not known:
    /// [`Capture::start_over`].
    pub fn send_changed(&mut self, round: &Round, sink: &mut dyn Sink) -> Result<Sent, MoveError> {
        self.send(round, Pace::Beside, sink)
    }

    pub(super) fn send(
        &mut self,
        round: &Round,
        pace: Pace,
        sink: &mut dyn Sink,
    ) -> Result<Sent, MoveError> {
        let Some(comparing) = &mut self.0.comparing else {
            return Ok(Sent::default());
        };
        let mems: Vec<_> = round
            .compared
            .iter()
            .map(|taken| Arc::clone(&taken.mem))
            .collect();
        let passed = comparing.pass(&mems, pace, sink)?;
        // They come whole behind chunks of the same round, which dom0 takes in any order: once more, in the next one.
        // When nothing runs both say the same.
        if matches!(pace, Pace::Beside) {
            passed.failed.iter().for_each(|mem| mem.set_written());
        }
        let silent = round.compared.iter().filter(|taken| !taken.written);
        let silent = silent.map(|taken| taken.mem.slot().id());
        self.0
            .suspects
            .extend(silent.filter(|id| passed.changed.contains(id)));
        Ok(Sent {
            report: passed.report,
            whole: passed
                .failed
                .iter()
                .map(|mem| Region::all_of(mem))
                .collect(),
        })
    }

    /// What was sent so far counts as lost: the next round lists everything again.
    pub fn start_over(&mut self) {
        root_buffers().iter().for_each(|mem| mem.set_written());
        if let Some(comparing) = &mut self.0.comparing {
            comparing.start_over();
        }
    }

    /// Bytes that the next round would send now, as far as comparing tells, else would list. `alive` is called now and
    /// then.
    ///
    /// # Errors
    /// `Sink` with what `alive` said.
    pub fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), SinkError>,
    ) -> Result<u64, MoveError> {
        let state = &mut *self.0;
        let due = root_buffers().into_iter().filter(|mem| state.is_due(mem));
        let (compared, whole): (Vec<_>, Vec<_>) = due.partition(|mem| state.compares(mem));
        let whole: u64 = whole.iter().map(|mem| mem.size as u64).sum();
        match &mut state.comparing {
            Some(comparing) => Ok(whole + comparing.estimate(&compared, alive)?),
            None => Ok(whole),
        }
    }

    /// Bytes of objects that are not compared, and why buffers among them are not.
    pub fn whole(&self) -> (u64, Whole) {
        let buffers = root_buffers();
        let whole = buffers.iter().filter(|mem| !self.0.compares(mem));
        let why = self.0.comparing.as_ref().map(Comparing::why);
        let bytes = whole.map(|mem| mem.size as u64).sum();
        (bytes, why.unwrap_or_default())
    }

    /// Releases what it has of the drivers, the program's memory objects being released already.
    pub(super) fn release(&mut self) {
        self.0.engine.release();
        if let Some(comparing) = self.0.comparing.take() {
            comparing.release();
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
