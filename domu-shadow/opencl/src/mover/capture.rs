//! What a round lists, and what a command has named since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use channel::BoxError;
use channel::guest::{StepError, Whole};
use channel::memory::SharedPages;
use runtime::delta::sink::Sink;
use runtime::gate::Draining;
use runtime::gpu_api::{Rounds, Stop, Transfers};
use runtime::locks;
use runtime::mover::transfer::Pending;
use runtime::mover::{HostBytes, MoveError, Program, Region, Round, Sent};
use runtime::phase_timer::PhaseTimer;
use runtime::residency::Resident;

use super::comparing::Comparing;
use super::dirty::{Taken, Tracking};
use super::lanes::{Lanes, root_buffers};
use super::quiesce::LetGo;
use super::recreate;
use crate::core::handle::{self, Object};
use crate::core::mem::Mem;
use crate::core::program;
use crate::core::svm;

/// The round in which all that commands named is compared, whether or not their arguments say that they write it.
const VALIDATION: u32 = 1;

/// A capture under way.
pub(super) struct Capture {
    /// Released first: its objects belong to the program's contexts, as the lanes do.
    comparing: Option<Comparing>,
    lanes: Lanes,
    /// Buffers that were handed out.
    sent: BTreeSet<u64>,
    /// Buffers that changed although no command said that it writes them.
    suspects: BTreeSet<u64>,
    rounds: u32,
    let_go: LetGo,
    tracking: Tracking,
}

fn all_of(mem: &Mem) -> Region {
    Region::all_of(mem.slot().id(), mem.size as u64)
}

impl Capture {
    pub(super) fn begin() -> Capture {
        Capture {
            comparing: None,
            lanes: Lanes::default(),
            sent: BTreeSet::new(),
            suspects: BTreeSet::new(),
            rounds: 0,
            let_go: LetGo::default(),
            tracking: Tracking::begin(),
        }
    }

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

    /// Those that are due, with their marks taken.
    fn take(&mut self, program: Program, buffers: &[Arc<Mem>]) -> Vec<Taken> {
        if program == Program::Waits {
            let due = buffers.iter().filter(|mem| self.is_due_at_last(mem));
            return due.cloned().map(Taken::from).collect();
        }
        let validate = self.rounds == VALIDATION;
        self.rounds += 1;
        let due =
            |mem: &&Arc<Mem>| self.is_due(mem) || validate && mem.is_used() && self.compares(mem);
        let due = buffers.iter().filter(due).cloned().collect();
        self.tracking.take(buffers, due)
    }
}

impl Rounds for Capture {
    fn compare(&mut self) {
        let comparing = self.comparing.get_or_insert_default();
        comparing.prepare(&root_buffers());
    }

    fn prepare(&mut self, go_on: &dyn Fn() -> bool) {
        let programs = handle::all::<program::Program>();
        let programs = programs.iter().take_while(|_| go_on());
        programs.for_each(|program| {
            let _beside = locks::beside();
            program.keep_binaries(Program::Runs);
        });
    }

    fn round(&mut self, program: Program, round: &mut Round) {
        let buffers = root_buffers();
        let taken = self.take(program, &buffers);
        let live: BTreeSet<u64> = buffers.iter().map(|mem| mem.slot().id()).collect();
        round.dropped.extend(self.sent.difference(&live));
        self.sent.retain(|object| live.contains(object));
        self.sent
            .extend(taken.iter().map(|taken| taken.mem.slot().id()));
        self.suspects.retain(|object| live.contains(object));
        self.lanes.know(&buffers);
        let (compared, whole): (Vec<_>, Vec<_>) = taken
            .into_iter()
            .partition(|taken| self.compares(&taken.mem));
        round
            .regions
            .extend(whole.iter().map(|taken| all_of(&taken.mem)));
        round.compare(compared);
    }

    fn send_changed(
        &mut self,
        round: &Round,
        program: Program,
        sink: &mut dyn Sink,
        sent: &mut Sent,
    ) -> Result<(), MoveError> {
        let Some(comparing) = &mut self.comparing else {
            return Ok(());
        };
        let taken: &[Taken] = round.compared();
        let mems: Vec<_> = taken.iter().map(|taken| Arc::clone(&taken.mem)).collect();
        let passed = comparing.pass(&mems, program, sink)?;
        // They come whole behind chunks of the same round, which dom0 takes in any order: once more, in the next one.
        // When nothing runs both say the same.
        if program == Program::Runs {
            passed.failed.iter().for_each(|mem| mem.set_written());
        }
        let silent = taken.iter().filter(|taken| !taken.written);
        let silent = silent.map(|taken| taken.mem.slot().id());
        self.suspects
            .extend(silent.filter(|id| passed.changed.contains(id)));
        sent.report.add(passed.report);
        sent.whole
            .extend(passed.failed.iter().map(|mem| all_of(mem)));
        Ok(())
    }

    fn start_over(&mut self) {
        root_buffers().iter().for_each(|mem| mem.set_written());
        if let Some(comparing) = &mut self.comparing {
            comparing.start_over();
        }
    }

    fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, MoveError> {
        let due = root_buffers().into_iter().filter(|mem| self.is_due(mem));
        let (compared, whole): (Vec<_>, Vec<_>) = due.partition(|mem| self.compares(mem));
        let whole: u64 = whole.iter().map(|mem| mem.size as u64).sum();
        match &mut self.comparing {
            Some(comparing) => Ok(whole + comparing.estimate(&compared, alive)?),
            None => Ok(whole),
        }
    }

    fn whole(&self) -> (u64, Whole) {
        let buffers = root_buffers();
        let whole = buffers.iter().filter(|mem| !self.compares(mem));
        let why = self.comparing.as_ref().map(Comparing::why);
        let bytes = whole.map(|mem| mem.size as u64).sum();
        (bytes, why.unwrap_or_default())
    }
}

impl Transfers for Capture {
    fn objects(&self) -> Vec<(u64, u64)> {
        let buffers = root_buffers();
        let sized = buffers.iter().map(|mem| (mem.slot().id(), mem.size as u64));
        sized.collect()
    }

    fn pin(&mut self, pages: Option<&SharedPages>) {
        let Some(pages) = pages else {
            return self.lanes.close();
        };
        let buffers = root_buffers();
        let contexts = buffers.into_iter().map(|mem| Arc::clone(&mem.context));
        self.lanes.pin(pages, contexts);
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
        self.lanes.write_zero(object, offset, len)
    }
}

impl Stop for Capture {
    fn quiesce(&mut self, gate: &Draining, deadline: Instant) -> Result<(), BoxError> {
        self.let_go.quiesce(gate, deadline)
    }

    fn settle(&mut self, deadline: Instant) -> Result<bool, BoxError> {
        let settled = self.let_go.settle(deadline)?;
        if settled {
            self.tracking.at_rest();
        }
        Ok(settled)
    }

    fn release_driver(&mut self, timer: &mut PhaseTimer) -> Vec<String> {
        recreate::release_all(timer, || {
            self.lanes.release();
            if let Some(comparing) = self.comparing.take() {
                comparing.release();
            }
        });
        Vec::new()
    }

    fn recreate(&mut self, timer: &mut PhaseTimer) -> Result<(), MoveError> {
        recreate::recreate_all(timer)
    }

    fn awaited(&mut self) -> Vec<Arc<dyn Resident>> {
        let mut mems = root_buffers();
        self.lanes.know(&mems);
        // Objects without a byte have all their contents. Those over shared virtual memory of ours do, too: it came
        // with the process, and the program writes it by other ways than this object.
        mems.retain(|mem| mem.size > 0 && !svm::contains(mem.program_pointer() as usize));
        mems.into_iter()
            .map(|mem| mem as Arc<dyn Resident>)
            .collect()
    }
}
