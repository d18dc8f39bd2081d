//! Contents that are still on their way after a move, and the commands that need them.
//!
//! After a restore the program runs as soon as its objects exist; their contents arrive one by one. A command waits for
//! those that it names before the driver gets it, and what somebody waits for is fetched first. Nothing else waits. With
//! nothing on its way and no capture under way, all that a command pays is one load ([`is_watched`]).
//!
//! The same look notes when an object was last used while a capture runs: what was used last is fetched first.
//!
//! A thread that waits is inside the gate. No move closes the gate meanwhile (a session whose contents arrive takes no
//! other command), and the wait ends by arrival only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handle::Object;
use super::mem::Mem;
use crate::leaving;

/// Contents of some object have not arrived.
const ARRIVING: u32 = 1;
/// A capture runs: uses are noted.
const NOTING: u32 = 2;

static WATCH: AtomicU32 = AtomicU32::new(0);
static USES: AtomicU64 = AtomicU64::new(0);
/// Ids of the objects that are waited for, in the order in which they were first named.
static WANTED: Mutex<VecDeque<u64>> = Mutex::new(VecDeque::new());
static ARRIVED: Condvar = Condvar::new();

/// A thread that waits longer than this says so.
const LONG: Duration = Duration::from_secs(10);

/// One root object's.
#[derive(Default)]
pub struct Presence {
    absent: AtomicBool,
    /// Larger is later; 0: never while a capture ran.
    used: AtomicU64,
}

impl Presence {
    /// When it was last used, to compare with others.
    pub fn last_use(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Acquire)
    }
}

fn wanted() -> MutexGuard<'static, VecDeque<u64>> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether [`Mem::need`] has anything to do.
#[inline]
pub fn is_watched() -> bool {
    WATCH.load(Ordering::Relaxed) != 0
}

/// Notes uses from now on, or no more.
pub fn note_uses(on: bool) {
    if on {
        WATCH.fetch_or(NOTING, Ordering::Relaxed);
    } else {
        WATCH.fetch_and(!NOTING, Ordering::Relaxed);
    }
}

/// Contents of these are on their way. The gate is closed: whoever comes through it later sees that.
pub fn expect<'m>(mems: impl IntoIterator<Item = &'m Mem>) {
    wanted().clear();
    for mem in mems {
        mem.presence().absent.store(true, Ordering::Release);
    }
    WATCH.fetch_or(ARRIVING, Ordering::SeqCst);
}

/// The object has all its contents: who waits for it goes on.
pub fn arrived(mem: &Mem) {
    let mut wanted = wanted();
    mem.presence().absent.store(false, Ordering::Release);
    wanted.retain(|id| *id != mem.slot().id());
    drop(wanted);
    ARRIVED.notify_all();
}

/// Everything has arrived.
pub fn all_arrived() {
    WATCH.fetch_and(!ARRIVING, Ordering::Relaxed);
    wanted().clear();
}

/// Whether contents are on their way.
pub fn is_arriving() -> bool {
    WATCH.load(Ordering::SeqCst) & ARRIVING != 0
}

/// In a child of `fork` nothing arrives, and nobody wants to know of uses.
pub fn none_in_child() {
    WATCH.store(0, Ordering::Relaxed);
}

/// Objects that somebody waits for, the first first.
pub fn waited_for() -> Vec<u64> {
    wanted().iter().copied().collect()
}

impl Mem {
    /// The command names this object: waits until its contents are there. To be called *before* the driver gets the
    /// command.
    #[inline]
    pub fn need(&self) {
        if is_watched() {
            need_all([self]);
        }
    }
}

/// The same for the two objects of a copy.
#[inline]
pub fn need_both(source: &Mem, target: &Mem) {
    if is_watched() {
        need_all([source, target]);
    }
}

/// The same for several: all are fetched before others.
#[cold]
pub fn need_all<'m>(mems: impl IntoIterator<Item = &'m Mem>) {
    let now = USES.fetch_add(1, Ordering::Relaxed) + 1;
    let mut absent: Vec<&Mem> = Vec::new();
    for mem in mems {
        let root = mem.root();
        root.presence().used.store(now, Ordering::Relaxed);
        if root.presence().is_absent() {
            absent.push(root);
        }
    }
    // In an exit handler of the program's nothing arrives any more.
    if absent.is_empty() || leaving::is_here() {
        return;
    }
    wait_for(&absent);
}

fn wait_for(absent: &[&Mem]) {
    let since = Instant::now();
    let mut told = false;
    let mut guard = wanted();
    for mem in absent {
        let id = mem.slot().id();
        if mem.presence().is_absent() && !guard.contains(&id) {
            guard.push_back(id);
        }
    }
    while let Some(mem) = absent.iter().find(|mem| mem.presence().is_absent()) {
        if since.elapsed() > LONG && !told {
            told = true;
            log::warn!(
                "an OpenCL call waits for the contents of a memory object of {} bytes, which have not come from dom0 yet",
                mem.size
            );
        }
        guard = match ARRIVED.wait_timeout(guard, LONG) {
            Ok((guard, _)) => guard,
            Err(e) => e.into_inner().0,
        };
    }
}
