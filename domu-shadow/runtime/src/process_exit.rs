//! The end of the program, and the steps of a move.
//!
//! A step calls the drivers on threads of ours. While the process exits it must not: the drivers and their compilers destroy
//! what they have in exit handlers. So the handler here runs before theirs, waits for the step in progress, and there is no
//! other. Whatever that step leaves behind, a closed gate or no driver at all, does not hold up the thread that exits.
//!
//! Handlers run last-registered first, and a compiler registers some in the middle of the step that first needs it. An exit on
//! the main thread, or on one that has called us, is therefore noticed before any handler: glibc's `exit` destroys the
//! thread's own variables first, and then it is on the stack.

mod stack;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::{gate, thread};

/// How long an exit waits for the step in progress, which may be compiling.
const LAST_STEP: Duration = Duration::from_secs(60);

static STEP: Mutex<()> = Mutex::new(());
/// The process that has a session, not one that it forked; 0: none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The kernel's id of the thread that exits; 0: none.
static LEAVER: AtomicI32 = AtomicI32::new(0);

/// Sees the end of a thread.
struct Thread;

impl Drop for Thread {
    fn drop(&mut self) {
        thread_ends();
    }
}

thread_local! {
    static THREAD: Thread = const { Thread };
}

/// Notices from now on where the program exits on this thread.
pub fn watch_thread() {
    // Fails only while the thread's own variables are being destroyed.
    let _ = THREAD.try_with(|_| ());
}

/// The loader calls it on the main thread if it loads this library with the program; another thread may be the first to use it.
fn on_load() {
    if u32::try_from(thread::current()) == Ok(std::process::id()) {
        watch_thread();
    }
}

crate::at_load!(on_load);

/// From now on an exit of this process waits for the step in progress.
pub fn watch() {
    OWNER.store(std::process::id(), Ordering::Release);
    register();
}

unsafe extern "C" {
    // Itanium C++ ABI 3.3.5: `handler` is called by exit(3), and by `__cxa_finalize` with the same `owner`, which also drops it.
    fn __cxa_atexit(
        handler: extern "C" fn(*mut c_void),
        argument: *mut c_void,
        owner: *mut c_void,
    ) -> c_int;
    fn __cxa_finalize(owner: *mut c_void);
}

/// Its address is the owner of our handler.
static HANDLER: AtomicI32 = AtomicI32::new(0);
/// The kernel's id of the thread that drops the handler; 0: none.
static RENEWER: AtomicI32 = AtomicI32::new(0);

/// Handlers run last-registered first: where a driver may have registered its own, ours must come once more. The earlier one
/// goes: on top of what a driver has taken back it would keep all of that list, which has no other end, from being used again.
pub fn register() {
    static ONE: Mutex<()> = Mutex::new(());
    if OWNER.load(Ordering::Acquire) != std::process::id() {
        return;
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let owner = std::ptr::from_ref(&HANDLER).cast_mut().cast();
    RENEWER.store(thread::current(), Ordering::Release);
    // SAFETY: no handler but ours has this owner, and it does nothing when this thread calls it now.
    unsafe { __cxa_finalize(owner) };
    RENEWER.store(0, Ordering::Release);
    // SAFETY: `at_exit` lives as long as the process, and does not look at its argument.
    if unsafe { __cxa_atexit(at_exit, std::ptr::null_mut(), owner) } != 0 {
        log::warn!("an exit of this program will not wait for the move in progress");
    }
}

/// The calling thread's own variables are destroyed: by its end, which is nothing to us, or by the program's exit.
fn thread_ends() {
    if OWNER.load(Ordering::Acquire) == std::process::id() && stack::is_in_exit() {
        leaves_here();
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
    is_under_way() && LEAVER.load(Ordering::Acquire) == thread::current()
}

extern "C" fn at_exit(_: *mut c_void) {
    if RENEWER.load(Ordering::Acquire) == thread::current() {
        return;
    }
    if OWNER.load(Ordering::Acquire) == std::process::id() && leaves_here() {
        gate::stay_inside();
    }
}

/// The program exits on this thread: waits for the step in progress, and there is no other. False if it does on another.
fn leaves_here() -> bool {
    let this = thread::current();
    match LEAVER.compare_exchange(0, this, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            await_last_step();
            true
        }
        Err(leaver) => leaver == this,
    }
}

fn await_last_step() {
    let deadline = Instant::now() + LAST_STEP;
    while matches!(STEP.try_lock(), Err(TryLockError::WouldBlock)) {
        if Instant::now() > deadline {
            log::error!("the program exits in the middle of a move");
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
