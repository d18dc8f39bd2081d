//! The one place where threads wait: for an event's status or a queue's next command.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::lock::lock;

static LOCK: Mutex<()> = Mutex::new(());
static CHANGE: Condvar = Condvar::new();

/// Waits until `check` has an answer. It runs under a lock that `changed` takes too, so it must not drop objects.
pub fn wait_for<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let mut guard = lock(&LOCK);
    loop {
        if let Some(answer) = check() {
            return answer;
        }
        guard = CHANGE.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Wakes all that wait; call it after a change, with no lock held that a `check` takes.
pub fn changed() {
    let _guard = lock(&LOCK);
    CHANGE.notify_all();
}
