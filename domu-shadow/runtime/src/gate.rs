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

mod closing;
mod state;
mod words;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};
use std::sync::{OnceLock, PoisonError};

pub use closing::{Closed, Draining, drain};
pub use state::{barrier, is_closed, open_in_child, prepare, shut_in_child};
pub use words::{hold, is_inside, known_threads, knows_this_thread};

use state::{BEREFT, COUNTING, DRAINING, OPEN, STATE, STATE_BITS, state};
use words::{CHANGED, ThreadWord, lock, mine, register};

static COUNTER: OnceLock<fn(Pass)> = OnceLock::new();

/// What a call may do while the gate drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// An ordinary call: waits unless the gate is open.
    Normal,
    /// A call that only helps commands to end: enters while draining too.
    Drains,
    /// A call that may be one of several which belong together: as [`Pass::Drains`] between [`begin_together`] and [`end_together`],
    /// else as [`Pass::Normal`].
    Together,
}

static TOGETHER: AtomicBool = AtomicBool::new(false);

/// Calls that belong together have begun: those that wait, too, look again.
pub fn begin_together() {
    let guard = lock();
    TOGETHER.store(true, Ordering::SeqCst);
    drop(guard);
    CHANGED.notify_all();
}

/// They have ended.
pub fn end_together() {
    TOGETHER.store(false, Ordering::SeqCst);
}

impl Pass {
    fn now(self) -> Pass {
        match self {
            Pass::Together if TOGETHER.load(Ordering::SeqCst) => Pass::Drains,
            Pass::Together => Pass::Normal,
            pass => pass,
        }
    }
}

/// The calling thread is inside the gate until this is dropped.
pub struct Inside {
    word: &'static ThreadWord,
    _not_send: PhantomData<*const ()>,
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
        _not_send: PhantomData,
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

/// The calling thread ends the process: it counts as inside from now on, and waits no more.
pub fn stay_inside() {
    let Some(word) = mine().or_else(|| register(|| ())) else {
        return;
    };
    let depth = word.inside.load(Ordering::Relaxed);
    word.inside.store(depth + 1, Ordering::Relaxed);
}

fn permits(state: u32, pass: Pass) -> bool {
    match state & STATE_BITS {
        OPEN => true,
        DRAINING => pass.now() == Pass::Drains,
        _ => false,
    }
}

/// False if the thread stays outside.
#[cold]
fn wait(word: &'static ThreadWord, pass: Pass) -> bool {
    if STATE.load(Ordering::Relaxed) & COUNTING != 0 {
        word.inside.store(0, Ordering::Release);
        if let Some(called) = COUNTER.get() {
            called(pass.now());
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

/// Has `called` told of every call from now on, before it enters. Once in a process: for tests.
pub fn count_calls(called: fn(Pass)) {
    let _ = COUNTER.set(called);
    STATE.fetch_or(COUNTING, Ordering::SeqCst);
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
