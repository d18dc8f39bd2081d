//! The one lock behind which contexts and memory are known.
//!
//! Calls that allocate and free hold it for a look-up only, those of virtual memory for the driver's call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use runtime::process_exit;

use super::block::Block;
use super::context::Contexts;
use super::counted::Counted;
use super::ordinary::{Allocation, Allocations};
use super::vmm::VirtualMemory;
use crate::abi::{CUdevice, CUdeviceptr};

/// Mapped memory of ours that the program has freed.
#[derive(Debug)]
pub struct Retired {
    pub at: CUdeviceptr,
    pub allocation: Allocation,
    /// Reached when nothing uses it any more; without one its context has to come to rest.
    pub event: Option<usize>,
}

/// What the program has.
#[derive(Debug, Default)]
pub struct State {
    pub contexts: Contexts,
    pub allocations: Allocations,
    pub virtual_memory: VirtualMemory,
    pub counted: Counted,
    /// Mapped memory of ours that the program has freed, and that may still be in use.
    pub retired: Vec<Retired>,
    /// What the driver takes for a row of so many bytes, in elements of so many, on a device.
    pub pitches: BTreeMap<(CUdevice, usize, u32), usize>,
    /// Pools that the program has made.
    pub pools: BTreeSet<usize>,
}

static STATE: Mutex<Option<Box<State>>> = Mutex::new(None);
/// A pin has gone.
static UNPINNED: Condvar = Condvar::new();
/// How many threads of the program's wait for that.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The state, for this thread alone.
pub struct Locked(MutexGuard<'static, Option<Box<State>>>);

pub fn state() -> Locked {
    Locked(STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// For a fork: nothing changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&STATE)
}

/// The process whose pins there are. A child of `fork` has its parent's, which nobody takes away.
static PINNING: OnceLock<u32> = OnceLock::new();

/// How long the program's exit waits for a use of ours.
const AT_EXIT: Duration = Duration::from_secs(1);

/// This process is about to pin something.
pub fn pinning() {
    PINNING.get_or_init(std::process::id);
}

fn is_child() -> bool {
    PINNING.get() != Some(&std::process::id())
}

/// Whether the program waits for what we use: long uses are to end soon.
pub fn is_awaited() -> bool {
    WAITING.load(Ordering::Relaxed) > 0
}

/// A pin has gone: whoever waits looks again.
pub fn unpinned() {
    UNPINNED.notify_all();
}

impl Locked {
    /// Waits while we use what `is_used` looks at, with the lock open; not in a forked child, and not long at the program's exit.
    #[inline]
    pub fn wait_unused(self, is_used: impl Fn(&State) -> bool) -> Locked {
        if is_used(&self) {
            self.wait(|state| is_used(state).then(Vec::new))
        } else {
            self
        }
    }

    /// The same for blocks: `pinned` names those that we use. There are no new uses of them meanwhile.
    #[inline]
    pub fn wait_unpinned(self, pinned: impl Fn(&State) -> Vec<Arc<Block>>) -> Locked {
        let some = |blocks: Vec<_>| (!blocks.is_empty()).then_some(blocks);
        match some(pinned(&self)) {
            Some(_) => self.wait(|state| some(pinned(state))),
            None => self,
        }
    }

    /// `uses`: while there are some, and of which blocks.
    #[cold]
    fn wait(mut self, uses: impl Fn(&State) -> Option<Vec<Arc<Block>>>) -> Locked {
        let since = Instant::now();
        let is_over = || is_child() || process_exit::is_here() && since.elapsed() >= AT_EXIT;
        let mut awaited: Vec<Arc<Block>> = Vec::new();
        WAITING.fetch_add(1, Ordering::Relaxed);
        while let Some(blocks) = uses(&self)
            && !is_over()
        {
            for block in blocks {
                if !awaited.iter().any(|it| Arc::ptr_eq(it, &block)) {
                    block.add_waiting();
                    awaited.push(block);
                }
            }
            let waited = UNPINNED.wait_timeout(self.0, AT_EXIT);
            self.0 = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        WAITING.fetch_sub(1, Ordering::Relaxed);
        awaited.iter().for_each(|block| block.remove_waiting());
        self
    }
}

impl std::ops::Deref for Locked {
    type Target = State;

    fn deref(&self) -> &State {
        static EMPTY: OnceLock<State> = OnceLock::new();
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
