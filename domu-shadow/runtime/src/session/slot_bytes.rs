//! Bytes of the shared pages, lent to the driver.

use crate::delta::Place;
use crate::mover::HostBytes;
use channel::memory::SharedBytes;

/// Bytes of a slot, lent to the driver for one transfer.
pub(super) struct SlotBytes {
    address: *mut u8,
    len: usize,
}

// SAFETY: the bytes lie in the shared pages, which stay mapped while the link is open; every transfer is
// waited for, by its drop at the latest, before the step that started it returns, and the link is only
// closed between steps. No reference to shared bytes is ever formed.
unsafe impl HostBytes for SlotBytes {
    fn as_ptr(&self) -> *mut u8 {
        self.address
    }

    fn len(&self) -> usize {
        self.len
    }
}

pub(super) fn lend(bytes: SharedBytes<'_>) -> SlotBytes {
    SlotBytes {
        address: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// A slot's payload, lent to the delta engine for one piece of at most `extents` extents.
pub(super) fn place(token: u64, bytes: SharedBytes<'_>, extents: usize) -> Place {
    // SAFETY: as for `SlotBytes`; a pass ends before the step that started it returns, and has no transfer under way
    // then.
    unsafe { Place::new(token, bytes.as_ptr(), bytes.len(), extents) }
}
