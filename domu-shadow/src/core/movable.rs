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

/// A kind of objects: while there are any the process cannot be moved.
pub struct Obstacle {
    reason: &'static str,
    there: AtomicUsize,
}

/// Programs whose kernels share variables, which OpenCL has no way to read.
pub static VARIABLES: Obstacle = Obstacle::new("variables at program scope");
/// `cl_intel_unified_shared_memory`: its pointers may lie anywhere.
pub static UNIFIED_SHARED_MEMORY: Obstacle =
    Obstacle::new("unified shared memory (cl_intel_unified_shared_memory)");
/// `cl_ext_buffer_device_address`: a buffer's address may lie anywhere.
pub static DEVICE_ADDRESS: Obstacle =
    Obstacle::new("a buffer with a device address (cl_ext_buffer_device_address)");
/// `cl_khr_semaphore`: others may signal it, or wait for it.
pub static SEMAPHORE: Obstacle = Obstacle::new("a semaphore (cl_khr_semaphore)");
/// `cl_khr_external_memory`: others see it.
pub static EXTERNAL_MEMORY: Obstacle =
    Obstacle::new("memory shared with another API (cl_khr_external_memory)");

static ALL: [&Obstacle; 5] = [
    &VARIABLES,
    &UNIFIED_SHARED_MEMORY,
    &DEVICE_ADDRESS,
    &SEMAPHORE,
    &EXTERNAL_MEMORY,
];

/// One object of the kind.
#[derive(Debug)]
pub struct Hold(&'static Obstacle);

impl Obstacle {
    const fn new(reason: &'static str) -> Obstacle {
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

    fn blocks(&self) -> bool {
        self.there.load(Ordering::Acquire) > 0
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

/// Why the process cannot be moved, if so.
pub fn blocked() -> Option<String> {
    let reason = kept().clone();
    let obstacle = || ALL.iter().find(|obstacle| obstacle.blocks());
    reason
        .or_else(|| obstacle().map(|obstacle| obstacle.reason.to_owned()))
        .or_else(foreign::reason)
}
