//! The gate's state, and the ordering between it and the threads' words.

use std::sync::atomic::{AtomicU32, Ordering, fence};

pub(super) const OPEN: u32 = 0;
pub(super) const DRAINING: u32 = 1;
pub(super) const CLOSED: u32 = 2;
pub(super) const STATE_BITS: u32 = 3;
/// Set for ever where the kernel has no `membarrier`: every call then takes the slow path, with a real fence.
pub(super) const NO_MEMBARRIER: u32 = 4;
/// Set for ever where calls are counted: every call then takes the slow path.
pub(super) const COUNTING: u32 = 8;
/// Set for ever in a child that was forked in the middle of a move: no call enters, and no lock is taken.
pub(super) const BEREFT: u32 = 16;

pub(super) static STATE: AtomicU32 = AtomicU32::new(OPEN);

/// What [`STATE`] is, with acquire ordering. By its name other crates would first load its address.
#[inline]
pub(super) fn state() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let state;
        // SAFETY: reads an aligned static, as atomic loads are done on x86-64: with acquire ordering, to the compiler too, which
        // has to take it for a write of any memory. It is in the same library.
        unsafe {
            std::arch::asm!(
                "mov {0:e}, dword ptr [rip + {1}]",
                out(reg) state,
                sym STATE,
                options(nostack, preserves_flags),
            );
        }
        state
    }
    #[cfg(not(target_arch = "x86_64"))]
    STATE.load(Ordering::Acquire)
}

/// Whether no call can enter.
pub fn is_closed() -> bool {
    STATE.load(Ordering::SeqCst) & STATE_BITS == CLOSED
}

/// In a child of `fork` no thread moves anything: a gate that was closed would stay so, and nobody counts calls.
pub fn open_in_child() {
    STATE.fetch_and(!(STATE_BITS | COUNTING), Ordering::SeqCst);
}

/// In a child that was forked in the middle of a move: no call takes a lock, which another thread may have had.
pub fn shut_in_child() {
    STATE.fetch_and(!(STATE_BITS | COUNTING), Ordering::SeqCst);
    STATE.fetch_or(BEREFT, Ordering::SeqCst);
}

/// Registers the process for `membarrier(2)`; without it the gate falls back to fences.
pub fn prepare() {
    if !membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
        STATE.fetch_or(NO_MEMBARRIER, Ordering::SeqCst);
    }
}

/// Orders every thread's store of its word before its load of `STATE`.
pub fn barrier() {
    fence(Ordering::SeqCst);
    if STATE.load(Ordering::SeqCst) & NO_MEMBARRIER == 0
        && !membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    {
        log::error!(
            "membarrier(2) failed after it had been registered; the gate goes on with fences"
        );
        STATE.fetch_or(NO_MEMBARRIER, Ordering::SeqCst);
    }
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: membarrier(2) takes a command, flags and a cpu; it reads and writes no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
