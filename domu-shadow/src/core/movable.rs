//! Whether the process can be moved, and why not.

use crate::driver::foreign;
use std::sync::{Mutex, PoisonError};

static REASON: Mutex<Option<String>> = Mutex::new(None);

/// Marks the process as not migratable, for good; the first reason is kept.
pub fn block(reason: impl Into<String>) {
    let mut kept = REASON.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        let reason = reason.into();
        log::warn!("this process can no longer be migrated: {reason}");
        *kept = Some(reason);
    }
}

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    let reason = REASON
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    reason.or_else(foreign::reason)
}
