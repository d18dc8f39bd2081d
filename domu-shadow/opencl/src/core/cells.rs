//! The cells that handles point at: 64 bytes each, in one reserved region.
//!
//! Cells are reused in the order in which they were freed, so a stale handle stays invalid for long.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::host_memory;
use runtime::locks::lock;

/// Address space reserved for cells, bytes; pages are backed when first used.
const REGION: usize = 4 << 30;
const CELL: usize = 64;
/// Freed cells that must wait before the oldest is used again.
const FREE_AT_LEAST: usize = 4096;

/// What a handle points at: the object's kind and a weak pointer to it.
#[repr(C, align(64))]
pub(super) struct Cell {
    /// Where an ICD's objects have their dispatch table: ours, so that another loader could call us.
    pub(super) dispatch: AtomicPtr<c_void>,
    pub(super) object: AtomicPtr<c_void>,
    pub(super) id: AtomicU64,
    pub(super) kind: AtomicU32,
    /// References held by the program.
    pub(super) references: AtomicU32,
}

const _: () = assert!(size_of::<Cell>() == CELL);

static BASE: AtomicUsize = AtomicUsize::new(0);
/// What [`prepare`] was given.
static DISPATCH: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
static CELLS: Mutex<Cells> = Mutex::new(Cells {
    used: 0,
    last_id: 0,
    free: VecDeque::new(),
});

struct Cells {
    used: usize,
    last_id: u64,
    free: VecDeque<&'static Cell>,
}

fn cells() -> MutexGuard<'static, Cells> {
    lock(&CELLS)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&CELLS)
}

/// Reserves the region, and says what every cell's dispatch table is; called once, before any thread passes the gate.
pub fn prepare(dispatch: *mut c_void) {
    let base = host_memory::reserve(REGION).expect("4 GiB of address space can be reserved");
    DISPATCH.store(dispatch, Ordering::Relaxed);
    BASE.store(base, Ordering::Release);
}

fn cell_at(base: usize, index: usize) -> &'static Cell {
    assert!(index < REGION / CELL, "out of OpenCL handles");
    let address = base + index * CELL;
    // SAFETY: the region is mapped readable and writable for the life of the process, zero-filled, and `index` is
    // inside it; a zeroed cell is a valid value (null pointers, kind 0), and all fields are atomics.
    unsafe { &*std::ptr::with_exposed_provenance::<Cell>(address) }
}

/// The cell at a handle's address, used or not; `None` outside of the region. O(1), no lock.
#[inline]
pub(super) fn at(handle: *mut c_void) -> Option<&'static Cell> {
    let base = BASE.load(Ordering::Relaxed);
    let offset = (handle as usize).wrapping_sub(base);
    if offset >= REGION || !offset.is_multiple_of(CELL) || base == 0 {
        return None;
    }
    Some(cell_at(base, offset / CELL))
}

/// What [`prepare`] was given.
pub(super) fn dispatch() -> *mut c_void {
    DISPATCH.load(Ordering::Relaxed)
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch_early(_: &'static Cell) {}

#[cfg(target_arch = "x86_64")]
fn fetch_early(cell: &'static Cell) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which has no effect but on time; x86-64 has it.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(cell).cast()) };
}

/// Takes a free cell, with an id that is never used again. It has no kind yet.
pub(super) fn reserve() -> (&'static Cell, u64) {
    let base = BASE.load(Ordering::Acquire);
    assert_ne!(base, 0, "handles are prepared before the first call");
    let mut cells = cells();
    let reused = if cells.free.len() > FREE_AT_LEAST {
        let reused = cells.free.pop_front();
        // Waiting on the free list has evicted it from every cache: fetch the next one early.
        if let Some(next) = cells.free.front() {
            fetch_early(next);
        }
        reused
    } else {
        None
    };
    let cell = reused.unwrap_or_else(|| {
        cells.used += 1;
        cell_at(base, cells.used - 1)
    });
    cells.last_id += 1;
    let id = cells.last_id;
    drop(cells);
    cell.id.store(id, Ordering::Relaxed);
    (cell, id)
}

/// Makes a cell's handle invalid; its weak pointer, which nobody finds any more, null if it had none.
pub(super) fn free(cell: &'static Cell) -> *mut c_void {
    let mut cells = cells();
    cell.kind.store(0, Ordering::Release);
    // Nobody else writes it: a published cell belongs to its object alone.
    let weak = cell.object.load(Ordering::Acquire);
    cell.object.store(std::ptr::null_mut(), Ordering::Release);
    cells.free.push_back(cell);
    weak
}

/// Looks at every cell that was ever used; none is freed meanwhile.
pub(super) fn filter_map<R>(look: impl FnMut(&'static Cell) -> Option<R>) -> Vec<R> {
    let base = BASE.load(Ordering::Acquire);
    let guard = cells();
    let used = (0..guard.used).map(|index| cell_at(base, index));
    used.filter_map(look).collect()
}
