//! The two kernels of `kernels.cu`: their arguments in one place.

use std::ffi::{c_uint, c_void};

use runtime::delta::chunk::GROUP;
use runtime::delta::device::{Compare, Event as _, Result};
use runtime::delta::digest::{ChunkDigest, Secret};

use super::modules::Module;
use super::unavailable::Unavailable;
use crate::abi::*;
use crate::beside::home::{Home, call};
use crate::beside::stream::{Event, Stream};

/// Threads of a block, a warp a chunk.
const THREADS: c_uint = 256;
const WARPS: c_uint = THREADS / 32;
/// What a warp does where there is much to do: its keys are loaded once for all of it.
const GROUPS_EACH: c_uint = 4;
const ENTRIES_EACH: c_uint = 4;

const MODE_ALL: u32 = 1;
const MODE_DRY: u32 = 2;

/// A block as the kernels see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) at: CUdeviceptr,
    /// Bytes.
    pub(super) size: u64,
    /// Its table.
    pub(super) table: CUdeviceptr,
}

#[derive(Debug)]
pub(super) struct Kernels {
    /// `None` once dropped.
    module: Option<Module>,
    detect: CUfunction,
    gather: CUfunction,
    /// The keys, in memory of the engine's.
    keys: CUdeviceptr,
    /// Warps that run at a time.
    at_once: c_uint,
}

// SAFETY: functions belong to a module, not to a thread.
unsafe impl Send for Kernels {}

/// The keys as `kernels.cu` has them.
fn laid_out(secret: &Secret) -> Vec<u8> {
    let ChunkDigest(zero) = secret.digest(&[]);
    let item = secret.item_keys().into_iter().flat_map(u32::to_le_bytes);
    let finish = secret.finish_keys().into_iter().flat_map(u64::to_le_bytes);
    let zero = zero.into_iter().flat_map(u32::to_le_bytes);
    item.chain(finish).chain(zero).collect()
}

impl Kernels {
    /// Bytes of the keys on the device.
    pub(super) const KEY_BYTES: usize = 22 * 64 * 4 + 12 * 8 + 4 * 4;

    /// Loads the kernels, and writes the keys to memory of so many bytes at `keys`.
    pub(super) fn new(
        home: &Home,
        stream: &Stream,
        secret: &Secret,
        keys: CUdeviceptr,
    ) -> std::result::Result<Kernels, Unavailable> {
        let module = Module::get(home).map_err(Unavailable::Load)?;
        let mut kernels = Kernels {
            detect: module.function(c"detect")?,
            gather: module.function(c"gather")?,
            module: Some(module),
            keys,
            at_once: 0,
        };
        let (mut processors, _here) = (0, home.enter()?);
        call!(cuDeviceGetAttribute(
            &raw mut processors,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
            home.context().device()
        ))?;
        kernels.at_once = processors.max(1) as c_uint * 2 * WARPS;
        let bytes = laid_out(secret);
        debug_assert_eq!(bytes.len(), Kernels::KEY_BYTES);
        // SAFETY: the engine's memory has room for them, and both are there until the event is complete.
        unsafe { stream.write(keys, bytes.as_ptr(), bytes.len()) }?.wait()?;
        Ok(kernels)
    }

    /// Blocks for `count` things to do, `each` for a warp where all warps have so many.
    fn blocks(&self, count: c_uint, each: c_uint) -> c_uint {
        let each = if count / each >= self.at_once {
            each
        } else {
            1
        };
        count.div_ceil(WARPS * each)
    }

    /// Starts comparing the chunks `first .. end` of `source` with its table; flags from group `flags_at` of `flags` on.
    ///
    /// # Safety
    /// Source, table and flags stay mapped until the event is complete, with the sizes said.
    #[expect(
        clippy::too_many_arguments,
        reason = "a kernel's arguments, named by its one caller"
    )]
    pub(super) unsafe fn detect(
        &self,
        stream: &Stream,
        source: Source,
        (first, end): (u32, u32),
        flags: CUdeviceptr,
        flags_at: u32,
        compare: Compare,
        timed: bool,
    ) -> Result<Event> {
        let mode = match compare {
            Compare::Only => MODE_DRY,
            Compare::AndSend => 0,
            Compare::Fresh => MODE_ALL,
        };
        let groups = (end - first).div_ceil(GROUP);
        let blocks = self.blocks(groups, GROUPS_EACH);
        let mut parameters = [
            pointer(&source.at),
            pointer(&source.size),
            pointer(&first),
            pointer(&end),
            pointer(&source.table),
            pointer(&self.keys),
            pointer(&flags),
            pointer(&flags_at),
            pointer(&mode),
        ];
        // SAFETY: as `kernels.cu` declares the kernel, and the caller's contract.
        unsafe { stream.launch(self.detect, (blocks, THREADS), &mut parameters, timed) }
    }

    /// Starts copying what `entries[first .. end]` list from `source` into `staging`.
    ///
    /// # Safety
    /// Source, table, entries and staging stay mapped until the event is complete, with room for what the entries say.
    pub(super) unsafe fn gather(
        &self,
        stream: &Stream,
        source: Source,
        entries: CUdeviceptr,
        (first, end): (u32, u32),
        staging: CUdeviceptr,
        timed: bool,
    ) -> Result<Event> {
        let blocks = self.blocks(end - first, ENTRIES_EACH);
        let mut parameters = [
            pointer(&source.at),
            pointer(&source.size),
            pointer(&source.table),
            pointer(&self.keys),
            pointer(&entries),
            pointer(&first),
            pointer(&end),
            pointer(&staging),
        ];
        // SAFETY: as `kernels.cu` declares the kernel, and the caller's contract.
        unsafe { stream.launch(self.gather, (blocks, THREADS), &mut parameters, timed) }
    }
}

/// A parameter, which the driver reads during the launch.
fn pointer<T>(value: &T) -> *mut c_void {
    (&raw const *value).cast_mut().cast()
}

impl Drop for Kernels {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            module.keep();
        }
    }
}
