//! What a round lists, and the steps of a move.
//!
//! A kernel follows pointers, so a call's arguments do not say what it writes: every block is compared in every round. A block that
//! cannot be compared is sent once while the program runs, and once more at the stop, where dom0 finds what is equal.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use channel::BoxError;
use channel::guest::{StepError, Whole};
use channel::memory::SharedPages;
use runtime::delta::sink::Sink;
use runtime::gate::Draining;
use runtime::gpu_api::{Rounds, Stop, Transfers};
use runtime::mover::transfer::Pending;
use runtime::mover::{HostBytes, MoveError, Program, Region, Round, Sent};
use runtime::phase_timer::PhaseTimer;
use runtime::residency::Resident;
use runtime::vendor::snapshot::{Snapshot, UNREAD, is_device_node};

use super::checkpoint::State;
use super::comparing::Shared;
use super::error;
use super::gpus::{self, Had};
use super::lanes::Lanes;
use super::rest::Rest;
use crate::beside::pin;
use crate::core::memory::{self, Block, MemoryError};
use crate::core::obstacles;
use crate::core::room::{self, GivesWay};
use crate::delta::modules;
use crate::front::{marks, unknown};

/// How long the driver may take to let go of pages: nothing runs any more.
const LETS_GO: Duration = Duration::from_secs(10);

/// Why the driver's state could not be taken off the GPU.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Driver(#[from] runtime::delta::DriverError),
    #[error("{0}")]
    Blocked(String),
    #[error("{0} blocks of its memory were not sent")]
    Unsent(usize),
    #[error("the driver does not let go of the link's pages")]
    Pinned,
}

/// A capture under way.
#[derive(Default)]
pub(super) struct Capture {
    /// Released first, as what lanes have.
    comparing: Option<Arc<Shared>>,
    lanes: Lanes,
    /// Blocks that were handed out.
    sent: BTreeSet<u64>,
    /// Those of them that went out whole.
    sent_whole: BTreeSet<u64>,
    rest: Rest,
    state: State,
    /// Whether the program had initialised CUDA when its memory was taken.
    is_used: bool,
    /// Why its memory could not be taken: then the driver's state stays, too.
    kept: Option<NotTaken>,
    /// The blocks of the last round at the closed gate: no others may be taken away.
    last: BTreeSet<u64>,
    /// Nothing was taken away: all contents are where they were.
    is_in_place: bool,
    /// What the driver had when its state was taken away.
    had: Had,
}

fn all_of(block: &Block) -> Region {
    Region::all_of(block.id().into(), block.size())
}

impl Capture {
    /// Those that are compared, and the others.
    fn divided(&self, blocks: Vec<Arc<Block>>) -> (Vec<Arc<Block>>, Vec<Arc<Block>>) {
        match &self.comparing {
            Some(comparing) => {
                let comparing = comparing.lock();
                let compares = |block: &Arc<Block>| comparing.compares(block);
                blocks.into_iter().partition(compares)
            }
            None => (Vec::new(), blocks),
        }
    }

    /// Takes all blocks' memory. Goes on from where it stopped.
    fn take_memory(&mut self) -> Result<(), NotTaken> {
        self.is_in_place = true;
        if !pin::have_ended(Instant::now() + LETS_GO) {
            return Err(NotTaken::Pinned);
        }
        self.had = Had::now()?;
        let blocks = memory::blocks();
        let is_unsent = |block: &&Arc<Block>| !self.last.contains(&block.id().into());
        match blocks.iter().filter(is_unsent).count() {
            0 => {}
            unsent => return Err(NotTaken::Unsent(unsent)),
        }
        self.is_in_place = false;
        Ok(memory::detach()?)
    }

    /// Takes the driver's state off the GPU. Goes on from where it stopped.
    fn take_state(&mut self) -> Result<(), NotTaken> {
        // The driver never gets over a checkpoint that it refuses.
        let why = obstacles::blocked().or_else(marks::used);
        let why = why.or_else(unknown::used);
        if let Some(why) = why.filter(|_| self.state.is_running()) {
            return Err(NotTaken::Blocked(why));
        }
        Ok(self.state.take_away()?)
    }
}

impl Rounds for Capture {
    fn compare(&mut self) {
        let comparing = self.comparing.get_or_insert_with(|| {
            let comparing = Shared::new();
            let holder: Weak<dyn GivesWay> = Arc::downgrade(&comparing) as _;
            room::is_held_by(holder);
            comparing
        });
        comparing.lock().prepare(&memory::blocks());
    }

    fn prepare(&mut self, _go_on: &dyn Fn() -> bool) {}

    fn round(&mut self, program: Program, round: &mut Round) {
        let blocks = memory::blocks();
        self.lanes.know(&blocks);
        let live: BTreeSet<u64> = blocks.iter().map(|block| block.id().into()).collect();
        let dropped: BTreeSet<u64> = self.sent.difference(&live).copied().collect();
        round.dropped.extend(&dropped);
        // A free that the driver refuses brings one back, of which nothing counts as sent.
        if let Some(comparing) = &self.comparing {
            comparing.lock().forget(&dropped);
        }
        self.sent_whole.retain(|id| live.contains(id));
        let (compared, whole) = self.divided(blocks);
        for block in &whole {
            if self.sent_whole.insert(block.id().into()) || program == Program::Waits {
                round.regions.push(all_of(block));
            }
        }
        round.compare(compared);
        if program == Program::Waits {
            self.last = live.clone();
        }
        self.sent = live;
    }

    fn send_changed(
        &mut self,
        round: &Round,
        program: Program,
        sink: &mut dyn Sink,
        sent: &mut Sent,
    ) -> Result<(), MoveError> {
        let Some(comparing) = &self.comparing else {
            return Ok(());
        };
        let passed = comparing.lock().pass(round.compared(), program, sink)?;
        // Nobody frees anything any more: a block that is still there must not be taken away without its contents.
        if program == Program::Waits && !passed.unreached.is_empty() {
            let blocks = memory::blocks();
            let is_there = |block: &Arc<Block>| blocks.iter().any(|it| Arc::ptr_eq(it, block));
            if passed.unreached.iter().any(is_there) {
                return Err(error::out_of_reach());
            }
        }
        // They come whole behind chunks of the same round, which dom0 takes in any order: once more at the stop, when both say the
        // same.
        sent.report.add(passed.report);
        sent.whole
            .extend(passed.failed.iter().map(|block| all_of(block)));
        Ok(())
    }

    fn start_over(&mut self) {
        self.sent_whole.clear();
        if let Some(comparing) = &self.comparing {
            comparing.lock().start_over();
        }
    }

    fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, MoveError> {
        let (compared, whole) = self.divided(memory::blocks());
        let whole: u64 = whole.iter().map(|block| block.size()).sum();
        match &self.comparing {
            Some(comparing) => Ok(whole + comparing.lock().estimate(&compared, alive)?),
            None => Ok(whole),
        }
    }

    fn whole(&self) -> (u64, Whole) {
        let (_, whole) = self.divided(memory::blocks());
        let comparing = self.comparing.as_ref();
        let why = comparing.map(|comparing| comparing.lock().why());
        let bytes = whole.iter().map(|block| block.size()).sum();
        (bytes, why.unwrap_or_default())
    }
}

impl Transfers for Capture {
    fn objects(&self) -> Vec<(u64, u64)> {
        let blocks = memory::blocks();
        let sized = |block: &Arc<Block>| (block.id().into(), block.size());
        blocks.iter().map(sized).collect()
    }

    fn pin(&mut self, pages: Option<&SharedPages>) {
        match pages {
            Some(pages) => self.lanes.pin(pages, &memory::contexts()),
            None => self.lanes.close(),
        }
    }

    unsafe fn start_read(
        &self,
        object: u64,
        offset: u64,
        to: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        // SAFETY: the same contract.
        unsafe { self.lanes.read(object, offset, to) }
    }

    unsafe fn start_write(
        &self,
        object: u64,
        offset: u64,
        from: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        // SAFETY: the same contract.
        unsafe { self.lanes.write(object, offset, from) }
    }

    fn start_zero(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> Result<Box<dyn Pending>, MoveError> {
        self.lanes.zero(object, offset, len)
    }
}

impl Stop for Capture {
    fn quiesce(&mut self, gate: &Draining, deadline: Instant) -> Result<(), BoxError> {
        self.rest.quiesce(gate, deadline)
    }

    fn settle(&mut self, deadline: Instant) -> Result<bool, BoxError> {
        self.rest.settle(deadline)
    }

    fn release_driver(&mut self, timer: &mut PhaseTimer) -> Vec<String> {
        // Where the state is away already, a way back has failed before the driver got anything again.
        if !self.state.is_running() {
            return Vec::new();
        }
        self.comparing = None;
        self.lanes.close();
        modules::unload();
        timer.lap("CUDA's streams, tables, kernels");
        self.is_used = gpus::are_in_use();
        let taken = if self.is_used {
            self.take_memory()
        } else {
            Ok(())
        };
        self.kept = taken.err();
        timer.lap("CUDA's memory");
        // Said by `leave_device`.
        Vec::new()
    }

    fn leave_device(&mut self, timer: &mut PhaseTimer) -> Vec<String> {
        if !self.is_used {
            return Vec::new();
        }
        let taken = match self.kept.take() {
            Some(why) => Err(why),
            None => self.take_state(),
        };
        timer.lap("CUDA's checkpoint");
        Vec::from_iter(taken.err().map(|why| format!("CUDA's state: {why}")))
    }

    fn held(&self) -> Vec<String> {
        if !self.state.is_checkpointed() {
            return Vec::new();
        }
        let now = Snapshot::take();
        if !now.is_whole {
            return vec![UNREAD.to_owned()];
        }
        let files = now.files.iter().filter(|(_, path)| is_device_node(path));
        let files =
            files.map(|(number, path)| format!("{} (file descriptor {number})", path.display()));
        let mappings = now.mappings.iter();
        let mappings = mappings.filter(|mapping| is_device_node(&mapping.path));
        let mappings = mappings.map(|mapping| {
            format!(
                "{} (mapped at {:#x})",
                mapping.path.display(),
                mapping.range.start
            )
        });
        files.chain(mappings).collect()
    }

    fn return_to_device(&mut self, timer: &mut PhaseTimer) -> Result<(), MoveError> {
        if !self.state.is_running() {
            let mut pairs = self.had.pairs_now()?;
            self.state.bring_back(&mut pairs).map_err(error::driver)?;
            if pairs.iter().any(|pairs| !pairs.is_empty()) {
                gpus::have_changed();
            }
            timer.lap("CUDA's restore");
        }
        Ok(())
    }

    fn recreate(&mut self, timer: &mut PhaseTimer) -> Result<(), MoveError> {
        memory::attach().map_err(error::memory)?;
        timer.lap("CUDA's memory");
        Ok(())
    }

    fn awaited(&mut self) -> Vec<Arc<dyn Resident>> {
        if self.is_in_place {
            return Vec::new();
        }
        let blocks = memory::blocks();
        self.lanes.know(&blocks);
        let resident = |block: Arc<Block>| block as Arc<dyn Resident>;
        blocks.into_iter().map(resident).collect()
    }
}
