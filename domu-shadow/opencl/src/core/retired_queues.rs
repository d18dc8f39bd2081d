//! Queues that the program has released while their commands run on: a move waits for those.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use super::device::Device;
use crate::driver::dispatch::status;
use crate::driver::query;
use runtime::locks::lock;

/// A driver's event that ends with the last command of a released queue.
struct Last {
    event: *mut c_void,
    /// In some drivers (pocl 3.1) neither event nor queue keeps a sub-device alive.
    _device: Arc<Device>,
}

// SAFETY: OpenCL's events belong to no thread.
unsafe impl Send for Last {}

impl Last {
    fn is_open(&self) -> bool {
        let ended = query::has_ended(self.event);
        if ended {
            // Returns at once, and makes what the commands wrote visible to ours. A failed command has ended, too.
            let _ = status!(self.event, clWaitForEvents(1, &raw const self.event));
        }
        !ended
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // Nothing to do about a refusal: the driver keeps its event.
        let _ = status!(self.event, clReleaseEvent(self.event));
    }
}

static ALL: Mutex<Vec<Last>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Last>> {
    lock(&ALL)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&ALL)
}

/// Takes the driver's events of all that runs in a queue of `device` that is about to be released.
pub fn keep(events: Vec<*mut c_void>, device: &Arc<Device>) {
    let last = |event| Last {
        event,
        _device: Arc::clone(device),
    };
    let mut all = all();
    all.retain(Last::is_open);
    all.extend(events.into_iter().map(last).filter(Last::is_open));
}

/// The driver is about to go, and nothing runs: no event of it may be looked at later.
pub fn end() {
    let left = std::mem::take(&mut *all());
    debug_assert!(left.is_empty(), "a released queue outlives its driver");
}

/// How many last events of released queues have not ended.
pub fn open() -> usize {
    let mut all = all();
    all.retain(Last::is_open);
    all.len()
}
