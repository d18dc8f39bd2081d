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

use crate::process_exit;

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

/// One object's.
#[derive(Default)]
pub struct Residency {
    absent: AtomicBool,
    /// Larger is later; 0: never while a capture ran.
    used: AtomicU64,
}

/// An object whose contents may still be on their way.
pub trait Resident: Send + Sync {
    /// Its name in a capture.
    fn id(&self) -> u64;
    /// Bytes of its contents.
    fn bytes(&self) -> u64;
    fn residency(&self) -> &Residency;
}

impl Residency {
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

/// Whether [`ensure_resident`] has anything to do.
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
pub fn expect<'r>(objects: impl IntoIterator<Item = &'r dyn Resident>) {
    wanted().clear();
    for object in objects {
        object.residency().absent.store(true, Ordering::Release);
    }
    WATCH.fetch_or(ARRIVING, Ordering::SeqCst);
}

/// The object has all its contents: who waits for it goes on.
pub fn arrived(object: &dyn Resident) {
    let mut wanted = wanted();
    object.residency().absent.store(false, Ordering::Release);
    wanted.retain(|id| *id != object.id());
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

/// [`is_arriving`] for a call that has come through the gate, which orders it after [`expect`]: one plain load.
#[inline]
pub fn is_arriving_now() -> bool {
    WATCH.load(Ordering::Relaxed) & ARRIVING != 0
}

/// In a child of `fork` nothing arrives, and nobody wants to know of uses.
pub fn none_in_child() {
    WATCH.store(0, Ordering::Relaxed);
}

/// Objects that somebody waits for, the first first.
pub fn waited_for() -> Vec<u64> {
    wanted().iter().copied().collect()
}

/// The command names these objects: waits until their contents are there. To be called *before* the driver gets the
/// command. All of them are fetched before others.
#[inline]
pub fn ensure_resident<'r, R: Resident + 'r>(objects: impl IntoIterator<Item = &'r R>) {
    if is_watched() {
        note_and_wait(objects);
    }
}

#[cold]
fn note_and_wait<'r, R: Resident + 'r>(objects: impl IntoIterator<Item = &'r R>) {
    let now = USES.fetch_add(1, Ordering::Relaxed) + 1;
    let mut absent: Vec<&dyn Resident> = Vec::new();
    for object in objects {
        object.residency().used.store(now, Ordering::Relaxed);
        if object.residency().is_absent() {
            absent.push(object);
        }
    }
    // In an exit handler of the program's nothing arrives any more.
    if absent.is_empty() || process_exit::is_here() {
        return;
    }
    wait_for(&absent);
}

fn wait_for(absent: &[&dyn Resident]) {
    let since = Instant::now();
    let mut told = false;
    let mut guard = wanted();
    for object in absent {
        let id = object.id();
        if object.residency().is_absent() && !guard.contains(&id) {
            guard.push_back(id);
        }
    }
    while let Some(object) = absent.iter().find(|object| object.residency().is_absent()) {
        if since.elapsed() > LONG && !told {
            told = true;
            log::warn!(
                "a call waits for the contents of a memory object of {} bytes, which have not come from dom0 yet",
                object.bytes()
            );
        }
        guard = match ARRIVED.wait_timeout(guard, LONG) {
            Ok((guard, _)) => guard,
            Err(e) => e.into_inner().0,
        };
    }
}
