//! The range of device addresses: reserved from the host without access, so that the program's own use of one faults.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use crate::lock::lock;

/// Device memory comes in pieces of this size.
pub const GRANULE: u64 = 2 << 20;

/// Bytes of address space.
const SIZE: u64 = 256 << 30;

/// Where the range begins when the place is free.
const WANTED: usize = 0x7d00_0000_0000;

static TAKEN: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());
/// First address of the range; 0 where there is none.
fn base() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        for (wanted, fixed) in [(WANTED, libc::MAP_FIXED_NOREPLACE), (0, 0)] {
            // SAFETY: a new mapping where there is none.
            let start = unsafe {
                libc::mmap(
                    std::ptr::without_provenance_mut(wanted),
                    (SIZE + GRANULE) as usize,
                    libc::PROT_NONE,
                    flags | fixed,
                    -1,
                    0,
                )
            };
            if start != libc::MAP_FAILED {
                return (start.expose_provenance() as u64).next_multiple_of(GRANULE);
            }
        }
        0
    })
}

/// Whether an address is one of devices.
pub fn is_device(address: u64) -> bool {
    (base()..base() + SIZE).contains(&address)
}

/// Whole granules.
pub fn rounded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(GRANULE)
}

/// Takes a range: at `wanted` if that is not 0 and free; else where there is room.
pub fn take(size: u64, alignment: u64, wanted: u64) -> Option<u64> {
    let size = rounded(size).filter(|&size| size > 0 && size <= SIZE)?;
    let alignment = alignment.max(GRANULE);
    let (first, end) = (base(), base() + SIZE);
    if first == 0 {
        return None;
    }
    let mut taken = lock(&TAKEN);
    let fits = wanted >= first && wanted.is_multiple_of(alignment) && size <= end - wanted.min(end);
    if wanted != 0 && fits && is_free(&taken, wanted, size) {
        taken.insert(wanted, size);
        return Some(wanted);
    }
    let mut at = first.next_multiple_of(alignment);
    for (&start, &length) in taken.iter() {
        if start >= at && start - at >= size {
            break;
        }
        at = at.max((start + length).next_multiple_of(alignment));
    }
    if size > end - at.min(end) {
        return None;
    }
    taken.insert(at, size);
    Some(at)
}

fn is_free(taken: &BTreeMap<u64, u64>, start: u64, size: u64) -> bool {
    taken
        .range(..start + size)
        .next_back()
        .is_none_or(|(&before, &length)| before + length <= start)
}

/// Gives a range back.
pub fn give_back(start: u64) {
    lock(&TAKEN).remove(&start);
}
