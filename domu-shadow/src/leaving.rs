//! The end of the program, and the steps of a move.
//!
//! A step calls the drivers on threads of ours. While the process exits it must not: the drivers and their compilers destroy
//! what they have in exit handlers. So the handler here runs before theirs, waits for the step in progress, and there is no
//! other. Whatever that step leaves behind, a closed gate or no driver at all, does not hold up the thread that exits.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::driver::snapshot::current_thread;
use crate::gate;

/// How long an exit waits for the step in progress, which may be compiling.
const LAST_STEP: Duration = Duration::from_secs(60);

static STEP: Mutex<()> = Mutex::new(());
/// The process that has a session, not one that it forked; 0: none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The kernel's id of the thread that exits; 0: none.
static LEAVER: AtomicI32 = AtomicI32::new(0);

/// From now on an exit of this process waits for the step in progress.
pub fn watch() {
    OWNER.store(std::process::id(), Ordering::Release);
    register();
}

/// Handlers run last-registered first: where a driver may have registered its own, ours must come once more.
pub fn register() {
    if OWNER.load(Ordering::Acquire) != std::process::id() {
        return;
    }
    // SAFETY: `at_exit` is an `extern "C"` function without arguments that lives as long as the process.
    if unsafe { libc::atexit(at_exit) } != 0 {
        log::warn!("an exit of this program will not wait for the move in progress");
    }
}

/// Begins a step, which lasts until the guard is dropped; `None` once the program exits.
pub fn step() -> Option<MutexGuard<'static, ()>> {
    let step = STEP.lock().unwrap_or_else(PoisonError::into_inner);
    (!is_under_way()).then_some(step)
}

/// Whether the program exits.
pub fn is_under_way() -> bool {
    LEAVER.load(Ordering::Acquire) != 0
}

/// Whether the program exits on this thread.
pub fn is_here() -> bool {
    is_under_way() && LEAVER.load(Ordering::Acquire) == current_thread()
}

extern "C" fn at_exit() {
    let is_first = || LEAVER.swap(current_thread(), Ordering::AcqRel) == 0;
    if OWNER.load(Ordering::Acquire) != std::process::id() || !is_first() {
        return;
    }
    let deadline = Instant::now() + LAST_STEP;
    while matches!(STEP.try_lock(), Err(TryLockError::WouldBlock)) {
        if Instant::now() > deadline {
            log::error!("the program exits in the middle of a move");
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    gate::stay_inside();
}
