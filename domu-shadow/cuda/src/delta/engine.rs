//! The driver's objects that a delta engine works with, and the engine over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use channel::guest::StepError;
use runtime::delta::device::{self, Detect, Event as _, Gather, HostCopy, Result};
use runtime::delta::digest::{ChunkDigest, Secret};
use runtime::delta::window::Entry;
use runtime::delta::{Config, DeltaError, Estimate, PassOptions, PassReport, Sink, engine};
use runtime::locks::lock;

use super::kernels::{Kernels, Source};
use super::self_test;
use super::tables::{Table, Tables};
use super::unavailable::Unavailable;
use crate::abi::*;
use crate::beside::home::{Home, failed};
use crate::beside::memory::Memory;
use crate::beside::stream::{Event, Stream};

/// A block to compare: its number, and where it lies now.
pub type Candidate = (u64, CUdeviceptr);

/// Where blocks lie, by their numbers, while a pass runs.
type Places = Arc<Mutex<BTreeMap<u64, CUdeviceptr>>>;

/// A block under watch, with its table.
#[derive(Debug)]
pub struct Watched {
    id: u64,
    table: Table,
}

/// Where in the engine's memory its parts are.
#[derive(Debug)]
struct Parts {
    memory: Memory,
    window_bytes: usize,
    entry_bytes: usize,
    flag_bytes: usize,
}

impl Parts {
    /// Parts start at multiples of this.
    const ALIGN: usize = 256;

    fn new(home: &Home, config: &Config) -> Result<Parts> {
        let limits = config.limits();
        let [window_bytes, entry_bytes, flag_bytes, key_bytes] = [
            limits.bytes,
            limits.entries * size_of::<Entry>(),
            config.flag_bytes(),
            Kernels::KEY_BYTES,
        ]
        .map(|bytes| bytes.next_multiple_of(Parts::ALIGN));
        let bytes = config.windows * (window_bytes + entry_bytes) + 2 * flag_bytes + key_bytes;
        Ok(Parts {
            memory: Memory::new(home, bytes)?,
            window_bytes,
            entry_bytes,
            flag_bytes,
        })
    }

    fn at(&self, offset: usize) -> CUdeviceptr {
        self.memory.at() + offset as CUdeviceptr
    }

    fn flags(&self, which: usize) -> CUdeviceptr {
        self.at(which * self.flag_bytes)
    }

    fn entries(&self, window: usize) -> CUdeviceptr {
        self.flags(2) + (window * (self.window_bytes + self.entry_bytes)) as CUdeviceptr
    }

    fn window(&self, window: usize) -> CUdeviceptr {
        self.entries(window) + self.entry_bytes as CUdeviceptr
    }

    /// Behind all windows.
    fn keys(&self, config: &Config) -> CUdeviceptr {
        self.entries(config.windows)
    }
}

/// One context's device.
#[derive(Debug)]
pub struct Device {
    places: Places,
    tables: Arc<Tables>,
    kernels: Kernels,
    /// Runs the kernels.
    work: Stream,
    /// Small transfers that the host waits for.
    control: Stream,
    reads: Vec<Stream>,
    timed: bool,
    // Released behind what works with it.
    parts: Parts,
}

/// The delta engine of one context. Drop it before the driver's state is taken away.
#[derive(Debug)]
pub struct Engine {
    engine: engine::Engine<Device>,
    places: Places,
}

impl Engine {
    /// An engine with the given sizes and random keys. Loads the kernels (the driver compiles them the first time), has them show that
    /// they are right, and allocates staging memory: have it ready before the gate closes.
    ///
    /// # Errors
    /// Why this device cannot compare.
    pub fn new(home: &Home, config: &Config) -> std::result::Result<Engine, Unavailable> {
        Engine::with_secret(home, config, &Secret::random()?)
    }

    /// The same with the given keys.
    ///
    /// # Errors
    /// Why this device cannot compare.
    pub fn with_secret(
        home: &Home,
        config: &Config,
        secret: &Secret,
    ) -> std::result::Result<Engine, Unavailable> {
        let control = Stream::new(home)?;
        let work = Stream::new(home)?;
        let reads = (0..config.read_queues).map(|_| Stream::new(home));
        let reads = reads.collect::<Result<_>>()?;
        let mut parts = Parts::new(home, config)?;
        let made = || {
            let kernels = Kernels::new(home, &control, secret, parts.keys(config))?;
            self_test::check(home, &kernels, &control, secret)?;
            Ok::<_, Unavailable>(kernels)
        };
        let made = made();
        if made.is_err() && !control.has_ended() {
            parts.memory.leak();
        }
        let kernels = made?;
        let places = Places::default();
        let device = Device {
            places: Arc::clone(&places),
            tables: Tables::new(home),
            kernels,
            work,
            control,
            reads,
            timed: config.profiling,
            parts,
        };
        Ok(Engine {
            engine: engine::Engine::on(device, config.clone()),
            places,
        })
    }

    /// Watches a block of `size` bytes under the number `id`. Its first pass sends all of it. The table takes 16 bytes of device memory
    /// for each 4096.
    ///
    /// # Errors
    /// When the number is taken, the size cannot be tracked, or the driver has no memory for the table.
    pub fn track(&mut self, id: u64, size: u64) -> std::result::Result<(), DeltaError> {
        // SAFETY: a number is no memory; passes say where the block lies.
        unsafe { self.engine.track(id, id, size) }
    }

    pub fn is_tracked(&self, id: u64) -> bool {
        self.engine.is_tracked(id)
    }

    /// Watches only the blocks for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.engine.retain(keep);
    }

    /// Forgets what was sent, of all blocks: the next pass sends everything.
    pub fn start_over(&mut self) {
        self.engine.start_over();
    }

    /// Bytes of device memory that tables and staging take.
    pub fn device_bytes(&self) -> u64 {
        self.engine.device_bytes()
    }

    /// The table of a block: the digest of each chunk as last sent. For checks.
    ///
    /// # Errors
    /// When the block is not tracked, or the driver fails.
    pub fn table(&self, id: u64) -> std::result::Result<Vec<ChunkDigest>, DeltaError> {
        self.engine.table(id)
    }

    /// [`engine::Engine::pass`].
    ///
    /// # Safety
    /// At each address lies device memory of the size under which the number is tracked, mapped while the pass runs.
    ///
    /// # Errors
    /// When the driver or the sink fails. Then all candidates count as never sent.
    pub unsafe fn pass(
        &mut self,
        candidates: &[Candidate],
        options: PassOptions,
        sink: &mut dyn Sink,
    ) -> std::result::Result<PassReport, DeltaError> {
        self.with(candidates, |engine, ids| engine.pass(ids, options, sink))
    }

    /// [`engine::Engine::estimate`].
    ///
    /// # Safety
    /// That of [`Engine::pass`].
    ///
    /// # Errors
    /// When the driver or `alive` fails.
    pub unsafe fn estimate(
        &mut self,
        candidates: &[Candidate],
        options: PassOptions,
        alive: &mut dyn FnMut() -> std::result::Result<(), StepError>,
    ) -> std::result::Result<Estimate, DeltaError> {
        self.with(candidates, |engine, ids| {
            engine.estimate(ids, options, alive)
        })
    }

    fn with<T>(
        &mut self,
        candidates: &[Candidate],
        run: impl FnOnce(&mut engine::Engine<Device>, &[u64]) -> T,
    ) -> T {
        *lock(&self.places) = candidates.iter().copied().collect();
        let ids: Vec<u64> = candidates.iter().map(|(id, _)| *id).collect();
        let done = run(&mut self.engine, &ids);
        lock(&self.places).clear();
        done
    }
}

impl Device {
    fn source(&self, watched: &Watched, size: u64) -> Result<Source> {
        let at = lock(&self.places).get(&watched.id).copied();
        Ok(Source {
            at: at.ok_or_else(|| failed("looking for a block", CUDA_ERROR_INVALID_VALUE))?,
            size,
            table: watched.table.at(),
        })
    }
}

impl device::Device for Device {
    /// The block's number.
    type Handle = u64;
    type Watched = Watched;
    type Event = Event;

    unsafe fn watch(&self, id: u64, chunks: u32) -> Result<Watched> {
        let table = self
            .tables
            .take(chunks as usize * size_of::<ChunkDigest>())?;
        Ok(Watched { id, table })
    }

    fn detect(&self, watched: &Watched, size: u64, what: Detect) -> Result<Event> {
        let Detect {
            first,
            end,
            flags,
            flags_at,
            compare,
        } = what;
        let (source, flags) = (self.source(watched, size)?, self.parts.flags(flags));
        // SAFETY: `Engine::pass` has it that the source is mapped; the rest is the engine's own, with the sizes of its configuration.
        unsafe {
            self.kernels.detect(
                &self.work,
                source,
                (first, end),
                flags,
                flags_at,
                compare,
                self.timed,
            )
        }
    }

    fn gather(&self, watched: &Watched, size: u64, what: Gather) -> Result<Event> {
        let source = self.source(watched, size)?;
        let range = (what.first as u32, what.end as u32);
        let (entries, window) = (
            self.parts.entries(what.window),
            self.parts.window(what.window),
        );
        // SAFETY: as for `detect`; a layout keeps to the window's limits.
        unsafe {
            self.kernels
                .gather(&self.work, source, entries, range, window, self.timed)
        }
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn read_flags<'h>(
        &self,
        flags: usize,
        bytes: &'h mut [u8],
        after: Option<&Event>,
    ) -> Result<HostCopy<'h, Event>> {
        if let Some(after) = after {
            self.control.wait(after)?;
        }
        let from = self.parts.flags(flags);
        // SAFETY: the copy borrows the bytes until its event is complete.
        let read = unsafe {
            self.control
                .read(bytes.as_mut_ptr(), from, bytes.len(), false)
        };
        read.map(HostCopy::new)
    }

    fn write_entries<'h>(
        &self,
        window: usize,
        at: usize,
        entries: &'h [Entry],
    ) -> Result<HostCopy<'h, Event>> {
        let to = self.parts.entries(window) + at as CUdeviceptr;
        let (from, bytes) = (entries.as_ptr().cast(), size_of_val(entries));
        // SAFETY: the copy borrows the entries until its event is complete.
        unsafe { self.control.write(to, from, bytes) }.map(HostCopy::new)
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
        let from = self.parts.window(window) + at as CUdeviceptr;
        self.reads[queue].wait(after)?;
        // SAFETY: the same contract.
        unsafe { self.reads[queue].read(target, from, size, self.timed) }
    }

    fn flush_reads(&self, _queue: usize) -> Result<()> {
        Ok(())
    }

    fn finish(&self) {
        let streams = self.reads.iter().chain([&self.work, &self.control]);
        // Each of them, whatever the others say.
        if streams.filter(|stream| !stream.has_ended()).count() > 0 {
            self.tables.lose();
        }
    }

    fn park(&self) -> Result<()> {
        Ok(())
    }

    fn read_table(&self, watched: &Watched, bytes: &mut [u8]) -> Result<()> {
        let from = watched.table.at();
        // SAFETY: waited for here.
        unsafe {
            self.control
                .read(bytes.as_mut_ptr(), from, bytes.len(), false)
        }?
        .wait()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Memory is unmapped without a look at what uses it.
        device::Device::finish(self);
        if self.tables.are_lost() {
            self.parts.memory.leak();
        }
    }
}
