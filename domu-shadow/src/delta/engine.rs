//! Tracked buffers, their tables, and what the engine owns on the device.

use std::collections::BTreeMap;
use std::ffi::c_void;

use opencl_sys::{
    CL_DEVICE_GLOBAL_MEM_SIZE, CL_DEVICE_HOST_UNIFIED_MEMORY, CL_MEM_FLAGS, CL_MEM_HOST_PTR,
    CL_MEM_USE_HOST_PTR,
};

use super::device::{DriverError, Memory, Queue, named};
use super::digest::{ChunkDigest, Secret};
use super::kernels::{GROUP_FLAGS, Kernels, SOURCE, Source, quietly};
use super::plan::chunks_of;
use super::sink::SinkError;
use super::{CHUNK_BYTES, window};
use crate::driver::dispatch::status;
use crate::driver::query;

/// Why a device cannot compare: the caller falls back to sending whole buffers.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("the device's compiler does not take the delta kernels ({error}): {log}")]
    Build { error: DriverError, log: String },
    #[error("the device's compiler makes wrong code of the delta kernels: {0}")]
    Wrong(String),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("no randomness for the digests' keys: {0}")]
    Secret(#[from] std::io::Error),
}

/// A pass, or bookkeeping, failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("the sink ended the pass: {0}")]
    Sink(#[from] SinkError),
    #[error("buffer {0} is not tracked")]
    NotTracked(u64),
    #[error("buffer {0} is tracked already")]
    TrackedAlready(u64),
    #[error("buffer {id} has {size} bytes; 1 byte to 8 TiB can be tracked")]
    Size { id: u64, size: u64 },
    #[error("the sink has no place, and none is under way")]
    NoPlace,
    #[error("place {token}: {capacity} bytes and {max_extents} extents; a chunk does not fit")]
    SmallPlace {
        token: u64,
        capacity: usize,
        max_extents: usize,
    },
}

/// Sizes that trade memory against speed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Staging windows; two let gathering and reading overlap, more keep the bus busy through a comparison.
    pub windows: usize,
    /// Bytes of a staging window, a multiple of 4096. All windows together take at most 1/32 of the device's
    /// memory: on small devices they are made smaller. Small windows stay in the device's cache.
    pub window_bytes: usize,
    /// Queues that read windows out, in turn.
    pub read_queues: usize,
    /// Buffer bytes compared before the host looks at the result: detect of one segment overlaps the transfer of
    /// the one before.
    pub segment_bytes: u64,
    /// Longest data extent, in bytes, a multiple of 4096 (`channel::image::Limits` allows 4 MiB).
    pub extent_bytes: u32,
    /// Keep the device's own times of each step for [`super::PassReport`].
    pub profiling: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            windows: 6,
            window_bytes: 16 << 20,
            read_queues: 2,
            segment_bytes: 4 << 30,
            extent_bytes: 1 << 20,
            profiling: false,
        }
    }
}

impl Config {
    /// The default sizes, smaller where all buffers together have only `bytes` bytes.
    pub fn for_bytes(bytes: u64) -> Config {
        let default = Config::default();
        let share = usize::try_from(bytes).unwrap_or(usize::MAX) / default.windows;
        Config {
            window_bytes: share.clamp(256 << 10, default.window_bytes),
            segment_bytes: bytes.clamp(16 << 20, default.segment_bytes),
            ..default
        }
    }

    /// Device memory that an engine takes for buffers of `bytes` bytes, at most, but for small buffers' tables.
    pub fn device_bytes(&self, bytes: u64) -> u64 {
        let window = self.window_bytes as u64;
        // Entries are 8 bytes a chunk; flags are few.
        self.windows as u64 * (window + window / 512) + bytes / 256
    }

    /// Values the engine can work with, for a device with `memory` bytes.
    fn fitted(&self, memory: u64) -> Config {
        let windows = self.windows.max(1);
        let share = usize::try_from(memory / 32).unwrap_or(usize::MAX) / windows;
        let whole = |bytes: usize| (bytes / CHUNK_BYTES).max(1) * CHUNK_BYTES;
        Config {
            windows,
            window_bytes: whole(self.window_bytes.min(share).min(1 << 30)),
            read_queues: self.read_queues.max(1),
            segment_bytes: self.segment_bytes.clamp(32 << 10, 1 << 40),
            extent_bytes: whole((self.extent_bytes as usize).min(1 << 30)) as u32,
            profiling: self.profiling,
        }
    }
}

/// A buffer under watch.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: u64,
    pub(super) buffer: *mut c_void,
    pub(super) size: u64,
    pub(super) chunks: u32,
    table: Memory,
    bytewise: bool,
    /// The table says nothing yet.
    pub(super) fresh: bool,
}

// SAFETY: OpenCL memory objects belong to no thread; `Engine::track`'s contract keeps the handle live while used.
unsafe impl Send for Tracked {}

impl Tracked {
    pub(super) fn source(&self) -> Source<'_> {
        Source {
            buffer: self.buffer,
            size: self.size,
            table: &self.table,
            bytewise: self.bytewise,
        }
    }
}

/// Staging memory of a window and the list of what belongs there.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) bytes: Memory,
    pub(super) entries: Memory,
}

/// The delta engine of one device in one context. Drop it before the driver is unloaded.
#[derive(Debug)]
pub struct Engine {
    pub(super) tracked: BTreeMap<u64, Tracked>,
    pub(super) windows: Vec<Staging>,
    /// Detect's flags, of two segments.
    pub(super) flags: [Memory; 2],
    pub(super) kernels: Kernels,
    /// Runs the kernels.
    pub(super) work: Queue,
    /// Small transfers that the host waits for.
    pub(super) control: Queue,
    pub(super) reads: Vec<Queue>,
    pub(super) config: Config,
    context: *mut c_void,
    unified: bool,
}

// SAFETY: OpenCL objects belong to no thread, and the engine is used through `&mut` alone.
unsafe impl Send for Engine {}

impl Engine {
    /// Releases all but the driver's queues, which go after `last` has had a look at each.
    pub(crate) fn release(self, last: impl Fn(*mut c_void)) {
        let Engine {
            tracked,
            windows,
            flags,
            kernels,
            work,
            control,
            reads,
            ..
        } = self;
        // Memory objects may hold their last event, and that its queue.
        drop((tracked, windows, flags, kernels));
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
    ) -> Result<Engine, Unavailable> {
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
    ) -> Result<Engine, Unavailable> {
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
    ) -> Result<Engine, Unavailable> {
        let number = |parameter| named("clGetDeviceInfo", query::device_number(device, parameter));
        let config = config.fitted(number(CL_DEVICE_GLOBAL_MEM_SIZE)?);
        let control = Queue::new(context, device, false)?;
        let kernels = Kernels::new(context, device, &control, secret, source)?;
        let limits = config.limits();
        let window = |_| {
            Ok(Staging {
                bytes: Memory::new(context, limits.bytes)?,
                entries: Memory::new(context, limits.entries * size_of::<window::Entry>())?,
            })
        };
        let flag_bytes = config.segment_groups() as usize * GROUP_FLAGS;
        Ok(Engine {
            tracked: BTreeMap::new(),
            windows: (0..config.windows)
                .map(window)
                .collect::<Result<_, DriverError>>()?,
            flags: [
                Memory::new(context, flag_bytes)?,
                Memory::new(context, flag_bytes)?,
            ],
            kernels,
            work: Queue::new(context, device, config.profiling)?,
            control,
            reads: (0..config.read_queues)
                .map(|_| Queue::new(context, device, config.profiling))
                .collect::<Result<_, DriverError>>()?,
            unified: number(CL_DEVICE_HOST_UNIFIED_MEMORY)? != 0,
            config,
            context,
        })
    }

    /// Watches a root buffer of `size` bytes under the number `id`. Its first pass sends all of it. The table takes
    /// 16 bytes of device memory for each 4096.
    ///
    /// # Safety
    /// `buffer` is the driver's own handle of a buffer (no image, no sub-buffer) of the engine's context and of
    /// this size. It is live now and during each pass and estimate that names `id`; in between it may be released.
    ///
    /// # Errors
    /// When the number is taken, the size cannot be tracked, or the driver has no memory for the table.
    pub unsafe fn track(
        &mut self,
        id: u64,
        buffer: *mut c_void,
        size: u64,
    ) -> Result<(), DeltaError> {
        if self.tracked.contains_key(&id) {
            return Err(DeltaError::TrackedAlready(id));
        }
        let chunks = chunks_of(size)
            .filter(|&chunks| chunks > 0)
            .ok_or(DeltaError::Size { id, size })?;
        let table = Memory::new(self.context, chunks as usize * size_of::<ChunkDigest>())?;
        let tracked = Tracked {
            id,
            buffer,
            size,
            chunks,
            table,
            bytewise: self.unified && misaligned(buffer)?,
            fresh: true,
        };
        self.tracked.insert(id, tracked);
        Ok(())
    }

    /// Watches a buffer no longer; whether it was watched.
    pub fn forget(&mut self, id: u64) -> bool {
        self.tracked.remove(&id).is_some()
    }

    /// Watches only the buffers for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.tracked.retain(|&id, _| keep(id));
    }

    /// Forgets what was sent, of all buffers: the next pass sends everything. For a new image.
    pub fn start_over(&mut self) {
        for tracked in self.tracked.values_mut() {
            tracked.fresh = true;
        }
    }

    /// Whether a buffer is watched.
    pub fn is_tracked(&self, id: u64) -> bool {
        self.tracked.contains_key(&id)
    }

    /// Bytes of device memory that tables and staging take.
    pub fn device_bytes(&self) -> u64 {
        let tables: u64 = self
            .tracked
            .values()
            .map(|t| u64::from(t.chunks) * 16)
            .sum();
        let limits = self.config.limits();
        let window = limits.bytes + limits.entries * size_of::<window::Entry>();
        let flags = self.config.segment_groups() as usize * GROUP_FLAGS;
        tables + (self.windows.len() * window + 2 * flags) as u64
    }

    /// The table of a buffer: the digest of each chunk as last sent. For checks; meaningless before the buffer's
    /// first pass.
    ///
    /// # Errors
    /// When the buffer is not tracked, or the driver fails.
    pub fn table(&self, id: u64) -> Result<Vec<ChunkDigest>, DeltaError> {
        let tracked = self.tracked.get(&id).ok_or(DeltaError::NotTracked(id))?;
        let mut bytes = vec![0; tracked.chunks as usize * size_of::<ChunkDigest>()];
        let read = self.control.read(&tracked.table, &mut bytes, None)?;
        read.wait(quietly)?;
        let (lanes, _) = bytes.as_chunks::<4>();
        let (digests, _) = lanes.as_chunks::<4>();
        Ok(digests
            .iter()
            .map(|lanes| ChunkDigest(lanes.map(u32::from_le_bytes)))
            .collect())
    }
}

impl Config {
    pub(super) fn limits(&self) -> window::Limits {
        window::Limits {
            bytes: self.window_bytes,
            // Short ends of small buffers may be more than whole chunks would be.
            entries: (self.window_bytes / CHUNK_BYTES).max(64),
            extent_bytes: self.extent_bytes,
        }
    }

    pub(super) fn segment_groups(&self) -> u32 {
        (self.segment_bytes / (8 * CHUNK_BYTES as u64)) as u32
    }
}

/// Whether the program's own memory, misaligned, may be the buffer's on a device that shares the host's memory.
fn misaligned(buffer: *mut c_void) -> Result<bool, DriverError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_with_the_device_and_stay_whole_chunks() {
        let large = Config::default().fitted(141 << 30);
        assert_eq!((large.windows, large.window_bytes), (6, 16 << 20));
        let small = Config::default().fitted(256 << 20);
        assert!(small.windows * small.window_bytes <= 8 << 20);
        assert_eq!(small.window_bytes % CHUNK_BYTES, 0);
        let odd = Config {
            windows: 0,
            window_bytes: 5000,
            read_queues: 0,
            segment_bytes: 1,
            extent_bytes: 1,
            profiling: false,
        }
        .fitted(1 << 30);
        assert_eq!(
            (odd.windows, odd.window_bytes, odd.read_queues),
            (1, 4096, 1)
        );
        assert_eq!((odd.segment_groups(), odd.extent_bytes), (1, 4096));
    }
}
