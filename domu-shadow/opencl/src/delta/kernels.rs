//! The two kernels of `kernels.cl`: building them, and their arguments in one place.

use std::ffi::c_void;

use runtime::delta::device::Result;

use super::device::{Event, Kernel, Memory, Queue, build};
use super::unavailable::Unavailable;
use runtime::delta::chunk::GROUP;
use runtime::delta::device::Compare;
use runtime::delta::digest::{self, ChunkDigest, Secret};

/// The kernels' source.
pub const SOURCE: &str = include_str!("kernels.cl");
/// Work-items of a group, in both kernels.
pub(super) const ITEMS: usize = digest::ITEMS;
/// Chunks of a gather group.
const BATCH: usize = 4;

const MODE_ALL: u32 = 1;
const MODE_DRY: u32 = 2;
const MODE_BYTEWISE: u32 = 4;

/// A buffer as the kernels see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) buffer: *mut c_void,
    /// Bytes.
    pub(super) size: u64,
    pub(super) table: &'a Memory,
    /// Not 16-byte aligned on the device.
    pub(super) bytewise: bool,
}

#[derive(Debug)]
pub(super) struct Kernels {
    detect: Kernel,
    gather: Kernel,
    keys: Memory,
    finish: Memory,
    zero: ChunkDigest,
}

impl Kernels {
    pub(super) fn new(
        context: *mut c_void,
        device: *mut c_void,
        queue: &Queue,
        secret: &Secret,
        source: &str,
    ) -> std::result::Result<Kernels, Unavailable> {
        let program = build(context, device, source)
            .map_err(|(error, log)| Unavailable::Build { error, log })?;
        let (keys, finish) = (secret.item_keys(), secret.finish_keys());
        let made = || -> Result<Kernels> {
            let kernels = Kernels {
                detect: Kernel::new(&program, c"detect")?,
                gather: Kernel::new(&program, c"gather")?,
                keys: Memory::new(context, size_of_val(keys.as_slice()))?,
                finish: Memory::new(context, size_of_val(&finish))?,
                zero: secret.digest(&[]),
            };
            queue.write(&kernels.keys, 0, &keys)?.wait(quietly)?;
            queue.write(&kernels.finish, 0, &finish)?.wait(quietly)?;
            Ok(kernels)
        };
        Ok(made()?)
    }

    /// Lets go of the last memory: a driver may keep what is set as an argument alive.
    pub(super) fn park(&self) -> Result<()> {
        let nothing = self.keys.real();
        for (kernel, index) in [
            (&self.detect, 0),
            (&self.detect, 4),
            (&self.detect, 8),
            (&self.gather, 0),
            (&self.gather, 2),
            (&self.gather, 5),
            (&self.gather, 8),
        ] {
            kernel.set(index, nothing)?;
        }
        Ok(())
    }

    /// Starts comparing the chunks `first .. end` of `source` with its table; flags from group `flags_at` on. `spare`
    /// groups more than needed have no chunks, and flag none.
    #[expect(
        clippy::too_many_arguments,
        reason = "a kernel's arguments, named by its one caller"
    )]
    pub(super) fn detect(
        &self,
        queue: &Queue,
        source: Source<'_>,
        first: u32,
        end: u32,
        flags: &Memory,
        flags_at: u32,
        compare: Compare,
        spare: usize,
    ) -> Result<Event> {
        let mode = bytewise(source)
            | match compare {
                Compare::Only => MODE_DRY,
                Compare::AndSend => 0,
                Compare::Fresh => MODE_ALL,
            };
        let kernel = &self.detect;
        kernel.set(0, source.buffer)?;
        kernel.set(1, source.size)?;
        kernel.set(2, first)?;
        kernel.set(3, end)?;
        kernel.set(4, source.table.real())?;
        kernel.set(5, self.keys.real())?;
        kernel.set(6, self.finish.real())?;
        kernel.set(7, self.zero.0)?;
        kernel.set(8, flags.real())?;
        kernel.set(9, flags_at)?;
        kernel.set(10, mode)?;
        let groups = (end - first).div_ceil(GROUP) as usize + spare;
        queue.launch(kernel, groups, ITEMS)
    }

    /// Starts copying what `entries[first .. end]` list from `source` into `staging`; `spare` groups have nothing to do.
    pub(super) fn gather(
        &self,
        queue: &Queue,
        source: Source<'_>,
        entries: &Memory,
        (first, end): (usize, usize),
        staging: &Memory,
        spare: usize,
    ) -> Result<Event> {
        let kernel = &self.gather;
        kernel.set(0, source.buffer)?;
        kernel.set(1, source.size)?;
        kernel.set(2, source.table.real())?;
        kernel.set(3, self.keys.real())?;
        kernel.set(4, self.finish.real())?;
        kernel.set(5, entries.real())?;
        kernel.set(6, first as u32)?;
        kernel.set(7, end as u32)?;
        kernel.set(8, staging.real())?;
        kernel.set(9, bytewise(source))?;
        queue.launch(kernel, (end - first).div_ceil(BATCH) + spare, ITEMS)
    }
}

/// Where nobody waits for a sign of life.
pub(super) fn quietly() -> Result<()> {
    Ok(())
}

fn bytewise(source: Source<'_>) -> u32 {
    if source.bytewise { MODE_BYTEWISE } else { 0 }
}
