//! The one lock behind which contexts and memory are known.
//!
//! Calls that allocate and free hold it for a look-up only, those of virtual memory for the driver's call.

use std::ffi::c_int;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::context::Contexts;
use super::counted::Counted;
use super::ordinary::{Allocation, Allocations};
use super::vmm::VirtualMemory;
use crate::abi::CUdeviceptr;

/// What the program has.
#[derive(Debug, Default)]
pub struct State {
    pub contexts: Contexts,
    pub allocations: Allocations,
    pub virtual_memory: VirtualMemory,
    pub counted: Counted,
    /// Mapped memory of ours that the program has freed while a stream was being captured: it goes later.
    pub retired: Vec<(CUdeviceptr, Allocation)>,
    /// Descriptors of memory that the program has exported.
    pub exported: Vec<c_int>,
}

static STATE: Mutex<Option<Box<State>>> = Mutex::new(None);
/// A pin has gone.
static UNPINNED: Condvar = Condvar::new();

/// The state, for this thread alone.
pub struct Locked(MutexGuard<'static, Option<Box<State>>>);

pub fn state() -> Locked {
    Locked(STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// For a fork: nothing changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&STATE)
}

/// A pin has gone: whoever waits looks again.
pub fn unpinned() {
    UNPINNED.notify_all();
}

impl Locked {
    /// Waits while we use what `is_pinned` looks at, with the lock open.
    pub fn wait_unpinned(mut self, is_pinned: impl Fn(&State) -> bool) -> Locked {
        while is_pinned(&self) {
            self.0 = UNPINNED
                .wait(self.0)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self
    }
}

impl std::ops::Deref for Locked {
    type Target = State;

    fn deref(&self) -> &State {
        static EMPTY: std::sync::OnceLock<State> = std::sync::OnceLock::new();
        match &*self.0 {
            Some(state) => state,
            None => EMPTY.get_or_init(State::default),
        }
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        self.0.get_or_insert_default()
    }
}
