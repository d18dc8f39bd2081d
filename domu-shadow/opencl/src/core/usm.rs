//! Unified shared memory (`cl_intel_unified_shared_memory`): a context's allocations. A process that has any cannot be moved.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard};

use crate::CLResult;
use runtime::blocked::Hold;
use runtime::locks::lock;

use super::obstacles;

/// By address.
#[derive(Default)]
pub struct Allocations(Mutex<BTreeMap<usize, Hold>>);

impl Allocations {
    fn all(&self) -> MutexGuard<'_, BTreeMap<usize, Hold>> {
        lock(&self.0)
    }

    /// Has a driver allocate some.
    ///
    /// # Errors
    /// Those of `allocate`.
    pub fn add(&self, allocate: impl FnOnce() -> CLResult<*mut c_void>) -> CLResult<*mut c_void> {
        let hold = obstacles::UNIFIED_SHARED_MEMORY.hold();
        let memory = allocate()?;
        self.all().insert(memory.addr(), hold);
        Ok(memory)
    }

    /// Has a driver free some.
    ///
    /// # Errors
    /// Those of `free`; the memory is still there then.
    pub fn remove(&self, memory: *mut c_void, free: impl FnOnce() -> CLResult<()>) -> CLResult<()> {
        // Taken out first: once the driver has freed it, another thread may get the same address.
        let hold = self.all().remove(&memory.addr());
        let answer = free();
        if let (Err(_), Some(hold)) = (answer, hold) {
            self.all().insert(memory.addr(), hold);
        }
        answer
    }
}
