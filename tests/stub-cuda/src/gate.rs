//! The lock that checkpoints take: while it is held, calls of the program wait.

use std::cell::Cell;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// What `cuCheckpointProcessGetState` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// Calls wait already; the lock waits for work to end.
    Locking,
    Locked,
    Checkpointed,
    Failed,
}

struct Gate {
    state: State,
    /// Calls under way.
    inside: usize,
}

static GATE: Mutex<Gate> = Mutex::new(Gate {
    state: State::Running,
    inside: 0,
});
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// A call under way. Calls within a call pass.
pub struct Inside(());

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            lock(&GATE).inside -= 1;
            CHANGED.notify_all();
        }
    }
}

/// Waits until the process is not locked.
pub fn enter() -> Inside {
    if DEPTH.get() == 0 {
        let mut gate = lock(&GATE);
        while gate.state != State::Running {
            gate = CHANGED
                .wait(gate)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        gate.inside += 1;
    }
    DEPTH.set(DEPTH.get() + 1);
    Inside(())
}

pub fn state() -> State {
    lock(&GATE).state
}

/// Goes from one state to another; false where the first is not the present one.
pub fn change(from: State, to: State) -> bool {
    let mut gate = lock(&GATE);
    let is = gate.state == from;
    if is {
        gate.state = to;
        CHANGED.notify_all();
    }
    is
}

/// Waits until no call is under way. False at the deadline.
pub fn drained(deadline: Option<Instant>) -> bool {
    let mut gate = lock(&GATE);
    while gate.inside > 0 {
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(1),
        };
        if left.is_zero() {
            return false;
        }
        gate = CHANGED
            .wait_timeout(gate, left)
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0;
    }
    true
}
