//! The delta engines of a capture, one for each context: which buffers are compared on the device, which travel whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use channel::guest::{StepError, Whole};
use opencl_sys::{
    CL_DEVICE_GLOBAL_MEM_SIZE, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY,
    CL_OUT_OF_RESOURCES,
};
use runtime::delta::{
    Config, DeltaError, DriverError, FilledPlace, PassOptions, PassReport, Place, Sink,
};
use runtime::mover::Program;

use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::handle::Object;
use crate::core::mem::Mem;
use crate::delta::{Engine, Unavailable};
use crate::driver::{query, workers};

/// A context with less in its buffers is not worth building kernels for.
const LEAST_BYTES: u64 = 256 << 10;

/// A smaller buffer is read sooner than compared.
const LEAST_BUFFER: usize = 16 << 10;

/// Share of time in which comparing may keep the device's memory busy while the program runs: costs a program that
/// streams through memory about 1 %.
const DUTY: f64 = 0.2;

fn options(program: Program) -> PassOptions {
    PassOptions::with_duty(match program {
        Program::Runs => DUTY,
        Program::Waits => 1.0,
    })
}

/// One context's.
#[derive(Default)]
struct Side {
    engine: Option<Engine>,
    why: Whole,
    /// The engine's, released after it: a queue does not keep a sub-device alive in every driver (pocl 3.1).
    device: Option<Arc<Device>>,
}

impl Side {
    /// Builds the engine if it is worth it, and watches exactly `mems`. `resident`: what the program has on all devices.
    fn prepare(&mut self, context: &Context, mems: &[&Arc<Mem>], resident: u64) {
        let bytes = mems.iter().map(|mem| mem.size as u64).sum();
        if self.engine.is_none() && self.why == Whole::Not && bytes >= LEAST_BYTES {
            self.build(context, bytes, resident);
        }
        let Some(engine) = &mut self.engine else {
            return;
        };
        let live: BTreeSet<u64> = mems.iter().map(|mem| mem.slot().id()).collect();
        engine.retain(|id| live.contains(&id));
        for mem in mems {
            let (id, size) = (mem.slot().id(), mem.size as u64);
            if engine.is_tracked(id) {
                continue;
            }
            // SAFETY: the driver's own root buffer of this size; whoever names it to the engine holds its `Mem`, and
            // engines are gone before the driver's objects are released for a move.
            if let Err(error) = unsafe { engine.track(id, mem.real.get(), size) } {
                log::info!("buffer {id} is sent whole: {error}");
                self.why = reason(&error);
                return;
            }
        }
    }

    fn build(&mut self, context: &Context, bytes: u64, resident: u64) {
        let Some(device) = context.devices.first() else {
            return;
        };
        let config = Config::for_bytes(bytes);
        // Drivers allocate when memory is first used: what the engine takes must not be what the program needs next.
        let memory = query::device_number(device.real.get(), CL_DEVICE_GLOBAL_MEM_SIZE);
        let left = memory.unwrap_or(0).saturating_sub(resident);
        if config.device_bytes(bytes) > left / 2 {
            log::info!(
                "buffers on {:?} are sent whole: only {left} bytes are left",
                device.name
            );
            self.why = Whole::NoMemory;
            return;
        }
        // SAFETY: live handles, the device one of the context's. The context is live as long as its buffers, without
        // which `Comparing::prepare` drops the engine; a move drops it first.
        match unsafe { Engine::new(context.real.get(), device.real.get(), &config) } {
            Ok(engine) => {
                self.engine = Some(engine);
                self.device = Some(Arc::clone(device));
            }
            Err(error) => {
                log::warn!("buffers on {:?} are sent whole: {error}", device.name);
                self.why = match error {
                    Unavailable::Build { .. } => Whole::NoKernels,
                    Unavailable::Wrong(_) => Whole::WrongKernels,
                    Unavailable::Driver(error) => reason(&error.into()),
                    Unavailable::Secret(_) => Whole::Driver,
                };
            }
        }
    }

    /// The driver has failed: from here on all travels whole.
    fn give_up(&mut self, error: &DeltaError) {
        log::warn!("comparing on the device failed, buffers are sent whole: {error}");
        self.why = reason(error);
        self.engine = None;
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            let is_last = self.device.as_ref().map(Arc::strong_count) == Some(1);
            engine.release(|queue| {
                if is_last {
                    workers::outlast(queue)
                }
            });
        }
    }
}

fn reason(error: &DeltaError) -> Whole {
    match error {
        DeltaError::Driver(DriverError {
            code: CL_MEM_OBJECT_ALLOCATION_FAILURE | CL_OUT_OF_RESOURCES | CL_OUT_OF_HOST_MEMORY,
            ..
        }) => Whole::NoMemory,
        _ => Whole::Driver,
    }
}

fn context_of(mem: &Mem) -> u64 {
    mem.context.slot().id()
}

/// Buffers by context.
fn grouped<'m>(mems: impl IntoIterator<Item = &'m Arc<Mem>>) -> BTreeMap<u64, Vec<&'m Arc<Mem>>> {
    let mut groups: BTreeMap<u64, Vec<&Arc<Mem>>> = BTreeMap::new();
    for mem in mems {
        groups.entry(context_of(mem)).or_default().push(mem);
    }
    groups
}

fn ids(mems: &[&Arc<Mem>]) -> Vec<u64> {
    mems.iter().map(|mem| mem.slot().id()).collect()
}

/// What a pass over all contexts did.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) report: PassReport,
    /// Buffers that had something to send.
    pub(super) changed: BTreeSet<u64>,
    /// Buffers of contexts whose driver failed: to be sent whole.
    pub(super) failed: Vec<Arc<Mem>>,
}

/// All engines of a capture. Dropped before the driver's objects are released.
#[derive(Default)]
pub(super) struct Comparing {
    sides: BTreeMap<u64, Side>,
}

impl Comparing {
    /// Makes ready to compare `buffers` as far as that is possible, and forgets all others.
    pub(super) fn prepare(&mut self, buffers: &[Arc<Mem>]) {
        let worth_it = |mem: &&Arc<Mem>| mem.is_buffer() && mem.size >= LEAST_BUFFER;
        let groups = grouped(buffers.iter().filter(worth_it));
        let resident = buffers.iter().map(|mem| mem.size as u64).sum();
        self.sides.retain(|context, _| groups.contains_key(context));
        for (context, mems) in groups {
            let side = self.sides.entry(context).or_default();
            side.prepare(&mems[0].context, &mems, resident);
        }
    }

    /// Whether a buffer is compared.
    pub(super) fn compares(&self, mem: &Mem) -> bool {
        let side = self.sides.get(&context_of(mem));
        side.and_then(|side| side.engine.as_ref())
            .is_some_and(|engine| engine.is_tracked(mem.slot().id()))
    }

    /// Sends what changed in `mems`, all of them compared.
    pub(super) fn pass(
        &mut self,
        mems: &[Arc<Mem>],
        program: Program,
        sink: &mut dyn Sink,
    ) -> Result<Passed, StepError> {
        let mut passed = Passed::default();
        for (context, mems) in grouped(mems) {
            let side = self.sides.entry(context).or_default();
            let Some(engine) = &mut side.engine else {
                passed.failed.extend(mems.into_iter().cloned());
                continue;
            };
            let mut noting = Noting {
                sink,
                changed: &mut passed.changed,
            };
            match engine.pass(&ids(&mems), options(program), &mut noting) {
                Ok(report) => passed.report.add(report),
                Err(DeltaError::Sink(error)) => return Err(error),
                Err(error) => {
                    side.give_up(&error);
                    passed.failed.extend(mems.into_iter().cloned());
                }
            }
        }
        Ok(passed)
    }

    /// Bytes in `mems`, all of them compared, that a pass would send now.
    pub(super) fn estimate(
        &mut self,
        mems: &[Arc<Mem>],
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, StepError> {
        let mut bytes = 0;
        for (context, mems) in grouped(mems) {
            let all = mems.iter().map(|mem| mem.size as u64).sum::<u64>();
            let side = self.sides.entry(context).or_default();
            let Some(engine) = &mut side.engine else {
                bytes += all;
                continue;
            };
            match engine.estimate(&ids(&mems), options(Program::Runs), alive) {
                Ok(estimate) => bytes += estimate.data_bytes,
                Err(DeltaError::Sink(error)) => return Err(error),
                Err(error) => {
                    side.give_up(&error);
                    bytes += all;
                }
            }
        }
        Ok(bytes)
    }

    /// What was sent is lost: the next pass sends everything.
    pub(super) fn start_over(&mut self) {
        let engines = self
            .sides
            .values_mut()
            .filter_map(|side| side.engine.as_mut());
        engines.for_each(|engine| engine.start_over());
    }

    /// Before the release of sub-devices, all memory objects being released already: see [`workers::outlast`].
    pub(super) fn release(mut self) {
        let engines = self
            .sides
            .values_mut()
            .filter_map(|side| side.engine.take());
        engines.for_each(|engine| engine.release(workers::outlast));
    }

    /// Why buffers are not compared; the worst reason of all contexts.
    pub(super) fn why(&self) -> Whole {
        let why = self.sides.values().map(|side| side.why);
        why.max_by_key(|&why| u64::from(why)).unwrap_or_default()
    }
}

/// Remembers which buffers had something to send.
struct Noting<'a> {
    sink: &'a mut dyn Sink,
    changed: &'a mut BTreeSet<u64>,
}

impl Sink for Noting<'_> {
    fn place(&mut self) -> Result<Option<Place>, StepError> {
        self.sink.place()
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        let buffers = piece.extents.iter().map(|extent| extent.buffer);
        self.changed.extend(buffers);
        self.sink.deliver(piece)
    }

    fn alive(&mut self) -> Result<(), StepError> {
        self.sink.alive()
    }
}
