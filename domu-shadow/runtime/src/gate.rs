//! The gate that every API call passes, and that a move closes.
//!
//! Open, it costs a call one store to a word of its own thread and one load of a global word: no lock, no atomic
//! read-modify-write, no fence. The ordering between the two is bought by the closing side with `membarrier(2)`
//! (`PRIVATE_EXPEDITED`): after it, a thread has either seen the new state or its word shows that it is inside.
//!
//! ```text
//!   Open ──drain()──▶ Draining ──close()──▶ Closed
//!    ▲                   │ drop                │ drop
//!    └───────────────────┴─────────────────────┘
//! ```
//!
//! While draining, calls that help commands to end (`Pass::Drains`: user events, releases) still enter. A thread
//! that waits inside a driver call counts as inside until the call returns.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering, compiler_fence, fence};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crate::{locks, thread, thread_word};

const OPEN: u32 = 0;
const DRAINING: u32 = 1;
const CLOSED: u32 = 2;
const STATE_BITS: u32 = 3;
/// Set for ever where the kernel has no `membarrier`: every call then takes the slow path, with a real fence.
const NO_MEMBARRIER: u32 = 4;
/// Set for ever where calls are counted: every call then takes the slow path.
const COUNTING: u32 = 8;
/// Set for ever in a child that was forked in the middle of a move: no call enters, and no lock is taken.
const BEREFT: u32 = 16;

static STATE: AtomicU32 = AtomicU32::new(OPEN);
static CHANGED: Condvar = Condvar::new();
static COUNTER: OnceLock<fn(Pass)> = OnceLock::new();
static THREADS: Mutex<Threads> = Mutex::new(Threads {
    all: Vec::new(),
    idle: Vec::new(),
});

/// What a call may do while the gate drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// An ordinary call: waits unless the gate is open.
    Normal,
    /// A call that only helps commands to end: enters while draining too.
    Drains,
}

/// One thread's word: how deep it is inside API calls (callbacks may call again).
struct ThreadWord {
    inside: AtomicU32,
    thread: AtomicI32,
}

struct Threads {
    all: Vec<&'static ThreadWord>,
    idle: Vec<&'static ThreadWord>,
}

thread_local! {
    static RETURNED: ReturnAtExit = const { ReturnAtExit };
}

/// Hands the thread's word to the next new thread when this one ends.
struct ReturnAtExit;

impl Drop for ReturnAtExit {
    fn drop(&mut self) {
        if let Some(word) = mine() {
            thread_word::set::<ThreadWord>(std::ptr::null());
            word.thread.store(0, Ordering::Relaxed);
            if STATE.load(Ordering::SeqCst) & BEREFT == 0 {
                lock().idle.push(word);
            }
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread's word, once it has one.
#[inline]
fn mine() -> Option<&'static ThreadWord> {
    // SAFETY: the pointer is null or was set by `register` from a leaked reference.
    unsafe { thread_word::get::<ThreadWord>().as_ref() }
}

/// What [`STATE`] is, with acquire ordering. By its name other crates would first load its address.
#[inline]
fn state() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let state;
        // SAFETY: reads an aligned static, as atomic loads are done on x86-64: with acquire ordering. It is in the same library.
        unsafe {
            std::arch::asm!(
                "mov {0:e}, dword ptr [rip + {1}]",
                out(reg) state,
                sym STATE,
                options(nostack, preserves_flags, readonly),
            );
        }
        state
    }
    #[cfg(not(target_arch = "x86_64"))]
    STATE.load(Ordering::Acquire)
}

/// The calling thread is inside the gate until this is dropped.
pub struct Inside {
    word: &'static ThreadWord,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        let depth = self.word.inside.load(Ordering::Relaxed);
        self.word.inside.store(depth - 1, Ordering::Release);
    }
}

/// Enters the gate; waits where the state does not let `pass` in. A thread already inside never waits. `None` in a child that
/// was forked in the middle of a move.
///
/// `first` is called when the thread has not entered before.
#[inline]
pub fn enter(pass: Pass, first: fn()) -> Option<Inside> {
    let word = match mine() {
        Some(word) => word,
        None => register(first)?,
    };
    let depth = word.inside.load(Ordering::Relaxed);
    word.inside.store(depth + 1, Ordering::Relaxed);
    if depth == 0 {
        // Program order only: the closing side's membarrier makes it hold between threads.
        compiler_fence(Ordering::SeqCst);
        if state() != OPEN && !wait(word, pass) {
            return None;
        }
    }
    Some(Inside {
        word,
        _not_send: std::marker::PhantomData,
    })
}

/// Runs `wait` outside of the gate, and enters it again: for a wait that only the program can end. Where the thread is
/// inside twice, `wait` runs inside.
pub fn outside(wait_for: impl FnOnce()) {
    let Some(word) = mine().filter(|word| word.inside.load(Ordering::Relaxed) == 1) else {
        return wait_for();
    };
    word.inside.store(0, Ordering::Release);
    wait_for();
    word.inside.store(1, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    if STATE.load(Ordering::Acquire) != OPEN {
        wait(word, Pass::Normal);
    }
}

/// Whether the calling thread has made a call.
pub fn knows_this_thread() -> bool {
    mine().is_some()
}

/// Whether the calling thread is in a call.
pub fn is_inside() -> bool {
    mine().is_some_and(|word| word.inside.load(Ordering::Relaxed) > 0)
}

/// Whether no call can enter.
pub fn is_closed() -> bool {
    STATE.load(Ordering::SeqCst) & STATE_BITS == CLOSED
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<std::sync::MutexGuard<'static, impl Sized>> {
    locks::try_lock(&THREADS)
}

/// The calling thread ends the process: it counts as inside from now on, and waits no more.
pub fn stay_inside() {
    let Some(word) = mine().or_else(|| register(|| ())) else {
        return;
    };
    let depth = word.inside.load(Ordering::Relaxed);
    word.inside.store(depth + 1, Ordering::Relaxed);
}

/// The kernel's ids of the threads that ever made an API call and still live.
pub fn known_threads() -> Vec<i32> {
    lock()
        .all
        .iter()
        .map(|word| word.thread.load(Ordering::Relaxed))
        .filter(|&id| id != 0)
        .collect()
}

#[cold]
fn register(first: fn()) -> Option<&'static ThreadWord> {
    if STATE.load(Ordering::SeqCst) & BEREFT != 0 {
        return None;
    }
    let mut threads = lock();
    let word = threads.idle.pop().unwrap_or_else(|| {
        let word: &'static ThreadWord = Box::leak(Box::new(ThreadWord {
            inside: AtomicU32::new(0),
            thread: AtomicI32::new(0),
        }));
        threads.all.push(word);
        word
    });
    word.thread.store(thread::current(), Ordering::Relaxed);
    drop(threads);
    thread_word::set::<ThreadWord>(word);
    // Fails only while the thread's locals are being destroyed; the word is then never handed on.
    let _ = RETURNED.try_with(|_| ());
    first();
    Some(word)
}

fn permits(state: u32, pass: Pass) -> bool {
    match state & STATE_BITS {
        OPEN => true,
        DRAINING => pass == Pass::Drains,
        _ => false,
    }
}

/// False if the thread stays outside.
#[cold]
fn wait(word: &'static ThreadWord, pass: Pass) -> bool {
    if STATE.load(Ordering::Relaxed) & COUNTING != 0 {
        word.inside.store(0, Ordering::Release);
        if let Some(called) = COUNTER.get() {
            called(pass);
        }
        word.inside.store(1, Ordering::Relaxed);
    }
    loop {
        fence(Ordering::SeqCst);
        let state = STATE.load(Ordering::SeqCst);
        if permits(state, pass) && state & BEREFT == 0 {
            return true;
        }
        word.inside.store(0, Ordering::Release);
        if state & BEREFT != 0 {
            return false;
        }
        let mut guard = lock();
        while !permits(STATE.load(Ordering::SeqCst), pass) {
            guard = CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        drop(guard);
        word.inside.store(1, Ordering::Relaxed);
    }
}

fn change(state: u32) {
    let guard = lock();
    let sticky = STATE.load(Ordering::SeqCst) & (NO_MEMBARRIER | COUNTING);
    STATE.store(state | sticky, Ordering::SeqCst);
    drop(guard);
    barrier();
    CHANGED.notify_all();
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

/// Has `called` told of every call from now on, before it enters. Once in a process: for tests.
pub fn count_calls(called: fn(Pass)) {
    let _ = COUNTER.set(called);
    STATE.fetch_or(COUNTING, Ordering::SeqCst);
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

/// The gate is draining: ordinary calls wait. Dropping it opens the gate again.
#[derive(Debug)]
pub struct Draining(());

/// The gate is closed: no thread is inside and none can enter. Dropping it opens the gate again.
#[derive(Debug)]
pub struct Closed(());

/// Starts to close the gate. `None` if another move holds it.
pub fn drain() -> Option<Draining> {
    static MOVER: Mutex<()> = Mutex::new(());
    let _one = MOVER.lock().unwrap_or_else(PoisonError::into_inner);
    if STATE.load(Ordering::SeqCst) & STATE_BITS != OPEN {
        return None;
    }
    change(DRAINING);
    Some(Draining(()))
}

impl Draining {
    /// How many threads are inside an API call now, the calling thread not counted.
    pub fn inside(&self) -> usize {
        inside()
    }

    /// Closes the gate, or gives it back as it was where a thread is still inside.
    pub fn close(self) -> Result<Closed, Draining> {
        if inside() > 0 {
            return Err(self);
        }
        change(CLOSED);
        // A releasing call may have slipped in before the state changed; those are short.
        let mut turns = 0_u32;
        while inside() > 0 {
            turns += 1;
            if turns > 20_000 {
                change(DRAINING);
                return Err(self);
            }
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
        std::mem::forget(self);
        Ok(Closed(()))
    }
}

impl Closed {
    /// Lets in again what helps commands to end.
    pub fn drain(self) -> Draining {
        change(DRAINING);
        std::mem::forget(self);
        Draining(())
    }
}

fn inside() -> usize {
    let mine = mine();
    let is_mine = |word: &'static ThreadWord| mine.is_some_and(|m| std::ptr::eq(m, word));
    lock()
        .all
        .iter()
        .filter(|word| !is_mine(word) && word.inside.load(Ordering::Acquire) > 0)
        .count()
}

impl Drop for Draining {
    fn drop(&mut self) {
        change(OPEN);
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        change(OPEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::time::Duration;

    /// Threads hammer the gate; while it is closed a non-atomic-like pair of counters must stand still.
    #[test]
    fn no_call_runs_in_a_closed_gate() {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        static CLOSED_NOW: AtomicBool = AtomicBool::new(false);
        static VIOLATIONS: AtomicU64 = AtomicU64::new(0);
        static STOP: AtomicBool = AtomicBool::new(false);
        prepare();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !STOP.load(Ordering::Relaxed) {
                        let _inside = enter(Pass::Normal, || ());
                        if CLOSED_NOW.load(Ordering::Relaxed) {
                            VIOLATIONS.fetch_add(1, Ordering::Relaxed);
                        }
                        CALLS.fetch_add(1, Ordering::Relaxed);
                        let _nested = enter(Pass::Normal, || ());
                    }
                });
            }
            for _ in 0..200 {
                let before = CALLS.load(Ordering::Relaxed);
                let mut draining = drain().expect("only this test closes the gate");
                let closed = loop {
                    match draining.close() {
                        Ok(closed) => break closed,
                        Err(again) => draining = again,
                    }
                };
                CLOSED_NOW.store(true, Ordering::Relaxed);
                let during = CALLS.load(Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(300));
                assert_eq!(
                    during,
                    CALLS.load(Ordering::Relaxed),
                    "a call ran in a closed gate"
                );
                CLOSED_NOW.store(false, Ordering::Relaxed);
                drop(closed);
                while CALLS.load(Ordering::Relaxed) == before {
                    std::thread::yield_now();
                }
            }
            STOP.store(true, Ordering::Relaxed);
        });
        assert_eq!(VIOLATIONS.load(Ordering::Relaxed), 0);
    }
}
