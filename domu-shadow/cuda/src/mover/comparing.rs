//! The delta engines of a capture, one for each context: which blocks are compared on the device, which travel whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use channel::guest::{StepError, Whole};
use runtime::delta::device::Result;
use runtime::delta::{Config, DeltaError, DriverError, PassOptions, PassReport, Sink};
use runtime::locks::lock;
use runtime::mover::Program;

use crate::abi::CUDA_ERROR_OUT_OF_MEMORY;
use crate::beside::home::{Home, call, complain};
use crate::core::context::Context;
use crate::core::memory::{Block, Pinned};
use crate::core::room::{self, GivesWay};
use crate::core::state;
use crate::delta::engine::Candidate;
use crate::delta::{Engine, Unavailable};

/// Share of time in which comparing may keep the device's memory busy while the program runs: costs a program that
/// streams through memory about 1 %.
const DUTY: f64 = 0.2;

/// Bytes that the slowest device compares in a second. A comparison's own time says too much where it waits for the program's kernels,
/// or where a processor stands in for the device: neither keeps memory busy, and rests as long as that starve the move.
const SLOWEST: f64 = 100e9;

/// Bytes that one pass looks at while the program runs: it holds all their blocks, and the program waits with what it frees of them.
const HELD_AT_A_TIME: u64 = 256 << 20;

/// How long the program waits for memory that a pass is using.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Less free memory than this is left to the program.
const LEAST_FREE: u64 = 32 << 20;

/// One context's.
struct Side {
    home: Home,
    engine: Option<Engine>,
    why: Whole,
}

impl Side {
    fn new(context: &Arc<Context>) -> Side {
        Side {
            home: Home::new(Arc::clone(context)),
            engine: None,
            why: Whole::Not,
        }
    }

    /// Builds the engine, and watches exactly `blocks`, as far as memory is left for their tables.
    fn prepare(&mut self, blocks: &[&Arc<Block>]) {
        let free = match self.free() {
            Ok(free) => free,
            Err(error) => return self.give_up(&error.into()),
        };
        if self.engine.is_none() && self.why == Whole::Not {
            self.build(blocks.iter().map(|block| block.size()).sum(), free);
        }
        let Some(engine) = &mut self.engine else {
            return;
        };
        let live: BTreeSet<u64> = blocks.iter().map(|block| block.id().into()).collect();
        engine.retain(|id| live.contains(&id));
        // What the program needs next must be left.
        let mut room = free.saturating_sub(LEAST_FREE) / 2;
        for block in blocks {
            let (id, size) = (block.id().into(), block.size());
            if engine.is_tracked(id) {
                continue;
            }
            // Sixteen bytes for each 4096.
            let table = size / 256;
            let tracked = if table > room {
                Err(DeltaError::Driver(DriverError {
                    api: channel::image::Api::CUDA,
                    call: "cuMemGetInfo",
                    code: CUDA_ERROR_OUT_OF_MEMORY,
                }))
            } else {
                engine.track(id, size)
            };
            match tracked {
                Ok(()) => room -= table,
                Err(error) => {
                    log::info!("block {id} of {size} bytes is sent whole: {error}");
                    self.why = reason(&error);
                }
            }
        }
    }

    /// Free memory of the device, in bytes.
    fn free(&self) -> Result<u64> {
        let _here = self.home.enter()?;
        let (mut free, mut total) = (0, 0);
        call!(cuMemGetInfo_v2(&raw mut free, &raw mut total))?;
        Ok(free as u64)
    }

    fn build(&mut self, bytes: u64, free: u64) {
        let config = Config {
            // For `rest`.
            profiling: true,
            ..Config::for_bytes(bytes).fitted(free)
        };
        if config.staging_bytes() + LEAST_FREE > free / 2 {
            log::info!("blocks are sent whole: the device has only {free} free bytes");
            self.why = Whole::NoMemory;
            return;
        }
        match Engine::new(&self.home, &config) {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => {
                match &error {
                    Unavailable::Load(error) | Unavailable::Driver(error) => {
                        complain("blocks are sent whole: ", error);
                    }
                    error => log::warn!("blocks are sent whole: {error}"),
                }
                self.why = match error {
                    Unavailable::Load(error) => match reason(&error.into()) {
                        Whole::NoMemory => Whole::NoMemory,
                        _ => Whole::NoKernels,
                    },
                    Unavailable::Wrong(_) => Whole::WrongKernels,
                    Unavailable::Driver(error) => reason(&error.into()),
                    Unavailable::Secret(_) => Whole::Driver,
                };
            }
        }
    }

    /// The driver has failed: from here on all travels whole.
    fn give_up(&mut self, error: &DeltaError) {
        let what = "comparing on the device failed, blocks are sent whole: ";
        match error {
            DeltaError::Driver(error) => complain(what, error),
            error => log::warn!("{what}{error}"),
        }
        self.why = reason(error);
        self.engine = None;
    }
}

fn reason(error: &DeltaError) -> Whole {
    match error {
        DeltaError::Driver(DriverError {
            code: CUDA_ERROR_OUT_OF_MEMORY,
            ..
        }) => Whole::NoMemory,
        _ => Whole::Driver,
    }
}

fn address_of(context: &Arc<Context>) -> usize {
    Arc::as_ptr(context).addr()
}

/// Blocks by context.
type Groups<'b> = BTreeMap<usize, (Arc<Context>, Vec<&'b Arc<Block>>)>;

fn grouped<'b>(blocks: impl IntoIterator<Item = &'b Arc<Block>>) -> Groups<'b> {
    let mut groups = Groups::new();
    for block in blocks {
        let context = block.context();
        let group = groups
            .entry(address_of(&context))
            .or_insert_with(|| (context, Vec::new()));
        group.1.push(block);
    }
    groups
}

/// Divides blocks into parts that are held together.
fn parts<'b, 'v>(
    blocks: &'v [&'b Arc<Block>],
    program: Program,
) -> impl Iterator<Item = &'v [&'b Arc<Block>]> {
    let most = match program {
        Program::Runs => HELD_AT_A_TIME,
        Program::Waits => u64::MAX,
    };
    let mut rest = blocks;
    std::iter::from_fn(move || {
        let mut bytes = 0_u64;
        let fits = |block: &&&Arc<Block>| {
            bytes = bytes.saturating_add(block.size());
            bytes <= most
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

/// A program that waits for memory of a pass does not wait for all of it: one allocation may be most of the device.
fn options(program: Program) -> PassOptions {
    let always = PassOptions::default();
    match program {
        Program::Runs => PassOptions {
            go_on: || !state::is_awaited() && !room::is_wanted(),
            ..always
        },
        Program::Waits => always,
    }
}

/// The blocks that are still there, held, and where they lie.
fn hold(blocks: &[&Arc<Block>]) -> (Vec<Pinned>, Vec<Candidate>) {
    let held: Vec<Pinned> = blocks.iter().filter_map(|block| block.pin()).collect();
    let place = |pinned: &Pinned| (pinned.block().id().into(), pinned.address());
    let places = held.iter().map(place).collect();
    (held, places)
}

/// How long to leave the device alone after comparing `bytes`, which kept it busy for `busy` of the time that has gone by. What is
/// compared at a time is held, so nothing rests within that.
fn rest(bytes: u64, busy: Duration, gone: Duration) -> Duration {
    let most = Duration::from_secs_f64(bytes as f64 / SLOWEST);
    busy.min(most).div_f64(DUTY).saturating_sub(gone)
}

/// What a pass over all contexts did.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) report: PassReport,
    /// Blocks of contexts whose driver failed: to be sent whole.
    pub(super) failed: Vec<Arc<Block>>,
    /// Blocks that the program has freed, that are left to the driver, or that are out of reach.
    pub(super) unreached: Vec<Arc<Block>>,
}

/// All engines of a capture. Dropped before the driver's state is taken away.
#[derive(Default)]
pub(super) struct Comparing {
    sides: BTreeMap<usize, Side>,
    /// The program needs the memory: nothing is compared any more.
    is_wanted: Arc<AtomicBool>,
    /// Engines have gone for that, and nobody was told yet.
    has_given: bool,
}

/// Used by the capture; emptied by a thread of the program's that finds no memory.
#[derive(Default)]
pub(super) struct Shared {
    comparing: Mutex<Comparing>,
    is_wanted: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new() -> Arc<Shared> {
        let shared = Shared::default();
        shared.lock().is_wanted = Arc::clone(&shared.is_wanted);
        Arc::new(shared)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Comparing> {
        lock(&self.comparing)
    }
}

impl GivesWay for Shared {
    /// While a pass sends it may take longer: the program then has the driver's answer, and the memory a little later.
    fn give_way(&self) -> bool {
        self.is_wanted.store(true, Ordering::Release);
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            match self.comparing.try_lock() {
                Ok(mut comparing) => return comparing.give_way(),
                Err(TryLockError::Poisoned(comparing)) => return comparing.into_inner().give_way(),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return false,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(500)),
            }
        }
    }
}

impl Comparing {
    /// Releases all engines. Whether there were any since the last time.
    fn give_way(&mut self) -> bool {
        for side in self.sides.values_mut() {
            side.why = Whole::NoMemory;
            self.has_given |= side.engine.take().is_some();
        }
        if self.has_given {
            log::info!("the program needs the memory for comparing: blocks are sent whole");
        }
        std::mem::take(&mut self.has_given)
    }

    /// Between two steps: the same, if the program wants it.
    fn give_way_if_wanted(&mut self) {
        if self.is_wanted.load(Ordering::Acquire) {
            self.has_given = self.give_way();
        }
    }

    /// Makes ready to compare `blocks` as far as that is possible, and forgets all others.
    pub(super) fn prepare(&mut self, blocks: &[Arc<Block>]) {
        let groups = grouped(blocks);
        self.sides.retain(|context, _| groups.contains_key(context));
        for (address, (context, blocks)) in groups {
            let side = self.sides.entry(address);
            let side = side.or_insert_with(|| Side::new(&context));
            if !self.is_wanted.load(Ordering::Acquire) {
                side.prepare(&blocks);
            }
        }
        self.give_way_if_wanted();
    }

    /// Compares these no more, until the next [`Comparing::prepare`].
    pub(super) fn forget(&mut self, ids: &BTreeSet<u64>) {
        let engines = self.sides.values_mut();
        let engines = engines.filter_map(|side| side.engine.as_mut());
        engines.for_each(|engine| engine.retain(|id| !ids.contains(&id)));
    }

    /// Whether a block is compared.
    pub(super) fn compares(&self, block: &Block) -> bool {
        let side = self.sides.get(&address_of(&block.context()));
        side.and_then(|side| side.engine.as_ref())
            .is_some_and(|engine| engine.is_tracked(block.id().into()))
    }

    /// Sends what changed in `blocks`, all of them compared.
    pub(super) fn pass(
        &mut self,
        blocks: &[Arc<Block>],
        program: Program,
        sink: &mut dyn Sink,
    ) -> std::result::Result<Passed, StepError> {
        let mut passed = Passed::default();
        for (address, (_, blocks)) in grouped(blocks) {
            for part in parts(&blocks, program) {
                self.give_way_if_wanted();
                let Some((home, engine)) = self.engine(address) else {
                    passed.failed.extend(part.iter().copied().cloned());
                    continue;
                };
                let (held, places) = hold(part);
                if held.len() < part.len() {
                    let is_held =
                        |block: &&Arc<Block>| held.iter().any(|it| Arc::ptr_eq(it.block(), block));
                    let unreached = part.iter().copied().filter(|block| !is_held(block));
                    passed.unreached.extend(unreached.cloned());
                }
                if held.is_empty() {
                    continue;
                }
                let done = home.enter().map_err(DeltaError::from).and_then(|_here| {
                    // SAFETY: the blocks are held, at these addresses.
                    unsafe { engine.pass(&places, options(program), sink) }
                });
                drop(held);
                match done {
                    Ok(report) => {
                        passed.report.add(report);
                        if program == Program::Runs {
                            let busy = Duration::from_nanos(report.detect_ns);
                            thread::sleep(rest(report.examined_bytes, busy, report.elapsed));
                        }
                    }
                    Err(DeltaError::Sink(error)) => return Err(error),
                    Err(error) => {
                        self.give_up(address, &error);
                        passed.failed.extend(part.iter().copied().cloned());
                    }
                }
            }
        }
        Ok(passed)
    }

    /// Bytes in `blocks`, all of them compared, that a pass would send now.
    pub(super) fn estimate(
        &mut self,
        blocks: &[Arc<Block>],
        alive: &mut dyn FnMut() -> std::result::Result<(), StepError>,
    ) -> std::result::Result<u64, StepError> {
        let mut bytes = 0;
        for (address, (_, blocks)) in grouped(blocks) {
            for part in parts(&blocks, Program::Runs) {
                self.give_way_if_wanted();
                let all = part.iter().map(|block| block.size()).sum::<u64>();
                let Some((home, engine)) = self.engine(address) else {
                    bytes += all;
                    continue;
                };
                let (held, places) = hold(part);
                if held.is_empty() {
                    continue;
                }
                let begun = Instant::now();
                let done = home.enter().map_err(DeltaError::from).and_then(|_here| {
                    // SAFETY: the blocks are held, at these addresses.
                    unsafe { engine.estimate(&places, PassOptions::default(), alive) }
                });
                drop(held);
                match done {
                    Ok(estimate) => {
                        bytes += estimate.data_bytes;
                        let gone = begun.elapsed();
                        thread::sleep(rest(all, gone, gone));
                    }
                    Err(DeltaError::Sink(error)) => return Err(error),
                    Err(error) => {
                        self.give_up(address, &error);
                        bytes += all;
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// A context's, and where to call it from.
    fn engine(&mut self, address: usize) -> Option<(&Home, &mut Engine)> {
        let side = self.sides.get_mut(&address)?;
        Some((&side.home, side.engine.as_mut()?))
    }

    fn give_up(&mut self, address: usize, error: &DeltaError) {
        if let Some(side) = self.sides.get_mut(&address) {
            side.give_up(error);
        }
    }

    /// What was sent is lost: the next pass sends everything.
    pub(super) fn start_over(&mut self) {
        let engines = self.sides.values_mut();
        let engines = engines.filter_map(|side| side.engine.as_mut());
        engines.for_each(Engine::start_over);
    }

    /// Why blocks are not compared; the worst reason of all contexts.
    pub(super) fn why(&self) -> Whole {
        let why = self.sides.values().map(|side| side.why);
        why.max_by_key(|&why| u64::from(why)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_rests_by_its_share_and_no_longer_than_memory_can_have_been_busy() {
        let ms = Duration::from_millis;
        // 4 GiB at 1 TB/s and more, of which half the rest is over.
        assert_eq!(rest(4 << 30, ms(4), ms(10)), ms(10));
        assert_eq!(rest(4 << 30, ms(4), ms(30)), Duration::ZERO);
        // Behind a kernel of a second.
        let long = rest(4 << 30, ms(1000), ms(0));
        assert!(long > ms(200) && long < ms(220), "{long:?}");
        assert_eq!(rest(4 << 30, ms(1000), ms(1000)), Duration::ZERO);
    }
}
