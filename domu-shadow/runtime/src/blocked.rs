//! Whether the process can be moved, and why not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static REASON: Mutex<Option<String>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<String>> {
    REASON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    crate::locks::try_lock(&REASON)
}

/// Marks the process as not migratable, for good; the first reason is kept.
pub fn block(reason: impl Into<String>) {
    let mut kept = kept();
    if kept.is_none() {
        let reason = reason.into();
        log::warn!("this process can no longer be migrated: {reason}");
        *kept = Some(reason);
    }
}

/// A kind of objects: while there are any the process cannot be moved.
pub struct Obstacle {
    reason: &'static str,
    there: AtomicUsize,
}

/// One object of the kind.
#[derive(Debug)]
pub struct Hold(&'static Obstacle);

impl Obstacle {
    pub const fn new(reason: &'static str) -> Obstacle {
        Obstacle {
            reason,
            there: AtomicUsize::new(0),
        }
    }

    /// There is one more, until the hold is dropped. To be taken before the driver makes it, inside the gate: a move looks again
    /// once nobody is.
    pub fn hold(&'static self) -> Hold {
        if self.there.fetch_add(1, Ordering::AcqRel) == 0 {
            log::warn!("this process cannot be migrated for now: {}", self.reason);
        }
        Hold(self)
    }

    /// Why the process cannot be moved, while there is one.
    pub fn blocks(&self) -> Option<&'static str> {
        (self.there.load(Ordering::Acquire) > 0).then_some(self.reason)
    }
}

impl std::fmt::Debug for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.there.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The reason that is kept, if there is one.
pub fn reason() -> Option<String> {
    kept().clone()
}
