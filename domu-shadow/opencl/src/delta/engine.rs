//! The driver's objects that a delta engine works with, and the engine over them.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};

use opencl_sys::{
    CL_DEVICE_GLOBAL_MEM_SIZE, CL_DEVICE_HOST_UNIFIED_MEMORY, CL_MEM_FLAGS, CL_MEM_HOST_PTR,
    CL_MEM_USE_HOST_PTR,
};
use runtime::delta::device::{self, Detect, Gather, HostCopy, Result};
use runtime::delta::digest::{ChunkDigest, Secret};
use runtime::delta::window::Entry;
use runtime::delta::{Config, engine};

use super::device::{Event, Memory, Queue, named};
use super::kernels::{Kernels, SOURCE, Source, quietly};
use super::self_test;
use super::unavailable::Unavailable;
use crate::driver::dispatch::status;
use crate::driver::query;

/// A buffer under watch, with its table.
#[derive(Debug)]
pub struct Watched {
    buffer: *mut c_void,
    table: Memory,
    bytewise: bool,
}

// SAFETY: OpenCL memory objects belong to no thread; `Device::watch`'s contract keeps the handle live while used.
unsafe impl Send for Watched {}

impl Watched {
    fn source(&self, size: u64) -> Source<'_> {
        Source {
            buffer: self.buffer,
            size,
            table: &self.table,
            bytewise: self.bytewise,
        }
    }
}

/// Staging memory of a window and the list of what belongs there.
#[derive(Debug)]
struct Staging {
    bytes: Memory,
    entries: Memory,
}

/// One device in one context.
#[derive(Debug)]
pub struct Device {
    windows: Vec<Staging>,
    /// Detect's flags, of two segments.
    flags: [Memory; 2],
    kernels: Kernels,
    /// Runs the kernels.
    work: Queue,
    /// Small transfers that the host waits for.
    control: Queue,
    reads: Vec<Queue>,
    context: *mut c_void,
    unified: bool,
}

// SAFETY: OpenCL objects belong to no thread; only `clSetKernelArg` is not thread-safe, and passes and estimates need the engine
// for themselves.
unsafe impl Send for Device {}

/// The delta engine of one device in one context. Drop it before the driver is unloaded.
#[derive(Debug)]
pub struct Engine(engine::Engine<Device>);

impl Deref for Engine {
    type Target = engine::Engine<Device>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Engine {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Engine {
    /// Releases all but the driver's queues, which go after `last` has had a look at each.
    pub(crate) fn release(self, last: impl Fn(*mut c_void)) {
        let Device {
            windows,
            flags,
            kernels,
            work,
            control,
            reads,
            ..
        } = self.0.into_device();
        // Memory objects may hold their last event, and that its queue.
        drop((windows, flags, kernels));
        let queues: Vec<Queue> = reads.into_iter().chain([work, control]).collect();
        queues.iter().for_each(|queue| last(queue.real()));
    }

    /// An engine with the given sizes and random keys. Builds the kernels (0.3 s on NVIDIA when nothing is cached), has
    /// them show that they are right, and allocates staging memory: have it ready before the gate closes.
    ///
    /// # Safety
    /// `context` and `device` are the driver's own live handles, the device one of the context's, and stay live as
    /// long as the engine.
    ///
    /// # Errors
    /// Why this device cannot compare.
    pub unsafe fn new(
        context: *mut c_void,
        device: *mut c_void,
        config: &Config,
    ) -> std::result::Result<Engine, Unavailable> {
        // SAFETY: the same contract.
        unsafe { Engine::with_secret(context, device, config, &Secret::random()?) }
    }

    /// The same with the given keys.
    ///
    /// # Safety
    /// That of [`Engine::new`].
    ///
    /// # Errors
    /// Why this device cannot compare.
    pub unsafe fn with_secret(
        context: *mut c_void,
        device: *mut c_void,
        config: &Config,
        secret: &Secret,
    ) -> std::result::Result<Engine, Unavailable> {
        // SAFETY: the same contract.
        unsafe { Engine::with_source(context, device, config, secret, SOURCE) }
    }

    /// The same with kernels of another source, for tests of the proof that they must pass.
    ///
    /// # Safety
    /// That of [`Engine::new`].
    ///
    /// # Errors
    /// Why this device cannot compare.
    #[doc(hidden)]
    pub unsafe fn with_source(
        context: *mut c_void,
        device: *mut c_void,
        config: &Config,
        secret: &Secret,
        source: &str,
    ) -> std::result::Result<Engine, Unavailable> {
        let number = |parameter| named("clGetDeviceInfo", query::device_number(device, parameter));
        let config = config.fitted(number(CL_DEVICE_GLOBAL_MEM_SIZE)?);
        let control = Queue::new(context, device, false)?;
        let kernels = Kernels::new(context, device, &control, secret, source)?;
        // Some drivers (pocl) compile a kernel when it first runs, for longer than a round should take: here they do.
        self_test::check(&kernels, context, &control, secret)?;
        kernels.park()?;
        let limits = config.limits();
        let window = |_| {
            Ok(Staging {
                bytes: Memory::new(context, limits.bytes)?,
                entries: Memory::new(context, limits.entries * size_of::<Entry>())?,
            })
        };
        let device = Device {
            windows: (0..config.windows).map(window).collect::<Result<_>>()?,
            flags: [
                Memory::new(context, config.flag_bytes())?,
                Memory::new(context, config.flag_bytes())?,
            ],
            kernels,
            work: Queue::new(context, device, config.profiling)?,
            control,
            reads: (0..config.read_queues)
                .map(|_| Queue::new(context, device, config.profiling))
                .collect::<Result<_>>()?,
            unified: number(CL_DEVICE_HOST_UNIFIED_MEMORY)? != 0,
            context,
        };
        Ok(Engine(engine::Engine::on(device, config)))
    }
}

impl device::Device for Device {
    type Handle = *mut c_void;
    type Watched = Watched;
    type Event = Event;

    unsafe fn watch(&self, buffer: *mut c_void, chunks: u32) -> Result<Watched> {
        Ok(Watched {
            buffer,
            table: Memory::new(self.context, chunks as usize * size_of::<ChunkDigest>())?,
            bytewise: self.unified && misaligned(buffer)?,
        })
    }

    fn detect(&self, watched: &Watched, size: u64, what: Detect) -> Result<Event> {
        let (source, flags) = (watched.source(size), &self.flags[what.flags]);
        let Detect {
            first,
            end,
            flags_at,
            compare,
            ..
        } = what;
        self.kernels
            .detect(&self.work, source, first, end, flags, flags_at, compare, 0)
    }

    fn gather(&self, watched: &Watched, size: u64, what: Gather) -> Result<Event> {
        let Staging { bytes, entries } = &self.windows[what.window];
        let (source, range) = (watched.source(size), (what.first, what.end));
        self.kernels
            .gather(&self.work, source, entries, range, bytes, 0)
    }

    fn flush(&self) -> Result<()> {
        self.work.flush()
    }

    fn read_flags<'h>(
        &self,
        flags: usize,
        bytes: &'h mut [u8],
        after: Option<&Event>,
    ) -> Result<HostCopy<'h, Event>> {
        self.control.read(&self.flags[flags], bytes, after)
    }

    fn write_entries<'h>(
        &self,
        window: usize,
        at: usize,
        entries: &'h [Entry],
    ) -> Result<HostCopy<'h, Event>> {
        self.control
            .write(&self.windows[window].entries, at, entries)
    }

    fn read_queues(&self) -> usize {
        self.reads.len()
    }

    unsafe fn read_window(
        &self,
        queue: usize,
        window: usize,
        (at, size): (usize, usize),
        target: *mut u8,
        after: &Event,
    ) -> Result<Event> {
        let (queue, staging) = (&self.reads[queue], &self.windows[window].bytes);
        // SAFETY: the same contract.
        unsafe { queue.start_read(staging, at, size, target, after) }
    }

    fn flush_reads(&self, queue: usize) -> Result<()> {
        self.reads[queue].flush()
    }

    fn finish(&self) {
        for queue in self.reads.iter().chain([&self.work, &self.control]) {
            if let Err(error) = queue.finish() {
                log::warn!("after a failed pass: {error}");
            }
        }
    }

    fn park(&self) -> Result<()> {
        self.kernels.park()
    }

    fn read_table(&self, watched: &Watched, bytes: &mut [u8]) -> Result<()> {
        self.control
            .read(&watched.table, bytes, None)?
            .wait(quietly)
    }
}

/// Whether the program's own memory, misaligned, may be the buffer's on a device that shares the host's memory.
fn misaligned(buffer: *mut c_void) -> Result<bool> {
    let number = |parameter| {
        let answer = query::number(&|size, value, size_ret| {
            status!(
                buffer,
                clGetMemObjectInfo(buffer, parameter, size, value, size_ret)
            )
        });
        named("clGetMemObjectInfo", answer)
    };
    Ok(number(CL_MEM_FLAGS)? & CL_MEM_USE_HOST_PTR != 0
        && !number(CL_MEM_HOST_PTR)?.is_multiple_of(16))
}
