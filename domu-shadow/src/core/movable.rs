//! Whether the process can be moved, and why not.

use crate::driver::foreign;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static REASON: Mutex<Option<String>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<String>> {
    REASON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    crate::fork::try_lock(&REASON)
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

/// Programs whose kernels share variables, which OpenCL has no way to read.
static WITH_VARIABLES: AtomicUsize = AtomicUsize::new(0);
const VARIABLES: &str = "variables at program scope";

/// A program's variables: while there are any the process cannot be moved.
pub struct Variables(());

impl Variables {
    pub fn new() -> Variables {
        if WITH_VARIABLES.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!("this process cannot be migrated for now: {VARIABLES}");
        }
        Variables(())
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        WITH_VARIABLES.fetch_sub(1, Ordering::Relaxed);
    }
}

fn variables() -> Option<String> {
    (WITH_VARIABLES.load(Ordering::Relaxed) > 0).then(|| VARIABLES.to_owned())
}

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    let reason = kept().clone();
    reason.or_else(variables).or_else(foreign::reason)
}
