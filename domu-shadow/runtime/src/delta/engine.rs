//! Tracked buffers and their tables.

use std::collections::BTreeMap;

use super::chunk::chunks_of;
use super::config::Config;
use super::device::{Device, DriverError};
use super::digest::ChunkDigest;
use channel::guest::StepError;

/// A pass, or bookkeeping, failed.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("the sink ended the pass: {0}")]
    Sink(#[from] StepError),
    #[error("buffer {0} is not tracked")]
    NotTracked(u64),
    #[error("buffer {0} is tracked already")]
    TrackedAlready(u64),
    #[error("buffer {id} has {size} bytes; 1 byte to 8 TiB can be tracked")]
    Size { id: u64, size: u64 },
    #[error("place {token}: {capacity} bytes and {max_extents} extents; a chunk does not fit")]
    SmallPlace {
        token: u64,
        capacity: usize,
        max_extents: usize,
    },
}

/// A buffer under watch.
#[derive(Debug)]
pub(super) struct Tracked<W> {
    pub(super) id: u64,
    pub(super) watched: W,
    /// Bytes.
    pub(super) size: u64,
    pub(super) chunks: u32,
    /// The table says nothing yet.
    pub(super) fresh: bool,
}

/// A buffer under watch on such a device.
pub(super) type TrackedOn<D> = Tracked<<D as Device>::Watched>;

/// The delta engine of one device. Drop it before the driver is unloaded.
#[derive(Debug)]
pub struct Engine<D: Device> {
    pub(super) tracked: BTreeMap<u64, Tracked<D::Watched>>,
    pub(super) device: D,
    pub(super) config: Config,
}

impl<D: Device> Engine<D> {
    /// On a device that has been made with these sizes ([`Config::fitted`]).
    pub fn on(device: D, config: Config) -> Self {
        Engine {
            tracked: BTreeMap::new(),
            device,
            config,
        }
    }

    /// The device, its tables released.
    pub fn into_device(self) -> D {
        self.device
    }

    /// Watches a root buffer of `size` bytes under the number `id`. Its first pass sends all of it. The table takes
    /// 16 bytes of device memory for each 4096.
    ///
    /// # Safety
    /// `handle` is the driver's own of a buffer of this device and of this size. It is live now and during each pass and estimate
    /// that names `id`; in between it may be released.
    ///
    /// # Errors
    /// When the number is taken, the size cannot be tracked, or the driver has no memory for the table.
    pub unsafe fn track(
        &mut self,
        id: u64,
        handle: D::Handle,
        size: u64,
    ) -> Result<(), DeltaError> {
        if self.tracked.contains_key(&id) {
            return Err(DeltaError::TrackedAlready(id));
        }
        let chunks = chunks_of(size)
            .filter(|&chunks| chunks > 0)
            .ok_or(DeltaError::Size { id, size })?;
        // SAFETY: the same contract.
        let watched = unsafe { self.device.watch(handle, chunks) }?;
        let tracked = Tracked {
            id,
            watched,
            size,
            chunks,
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
        let chunks = self.tracked.values().map(|t| u64::from(t.chunks));
        chunks.sum::<u64>() * size_of::<ChunkDigest>() as u64 + self.config.staging_bytes()
    }

    /// The table of a buffer: the digest of each chunk as last sent. For checks; meaningless before the buffer's
    /// first pass.
    ///
    /// # Errors
    /// When the buffer is not tracked, or the driver fails.
    pub fn table(&self, id: u64) -> Result<Vec<ChunkDigest>, DeltaError> {
        let tracked = self.tracked.get(&id).ok_or(DeltaError::NotTracked(id))?;
        let mut bytes = vec![0; tracked.chunks as usize * size_of::<ChunkDigest>()];
        self.device.read_table(&tracked.watched, &mut bytes)?;
        let (lanes, _) = bytes.as_chunks::<4>();
        let (digests, _) = lanes.as_chunks::<4>();
        Ok(digests
            .iter()
            .map(|lanes| ChunkDigest(lanes.map(u32::from_le_bytes)))
            .collect())
    }

    /// Those of these numbers.
    pub(super) fn candidates(&self, ids: &[u64]) -> Result<Vec<&TrackedOn<D>>, DeltaError> {
        ids.iter()
            .map(|id| self.tracked.get(id).ok_or(DeltaError::NotTracked(*id)))
            .collect()
    }
}
