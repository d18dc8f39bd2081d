//! What runs in a queue, known by the driver's events of its commands.
//!
//! A move waits until everything that runs has ended. As a rule it puts a marker behind it. Behind commands that the program's
//! user events hold back a marker would wait for the program, and in front of them it would be one command more than the program has
//! in its queue, which drivers need not take well: pocl 3.1 writes to freed memory where a user event fails while the command before
//! those it holds back has not ended. So once the program makes a user event each command is followed by its own event. What is in the queues by then
//! has a marker behind it, which pocl is given the time to end. Elsewhere than in pocl's queues that ends some time after the last user
//! event was set: an event for each command is not for nothing.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opencl_sys::cl_event;

use super::handle;
use super::queue::Queue;
use crate::driver::dispatch::status;
use crate::driver::query;
use runtime::gate;

/// User events without a status.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Commands have to be followed.
static FOLLOWED: AtomicBool = AtomicBool::new(false);
/// And what was in the queues by then has its markers.
static KNOWN: AtomicBool = AtomicBool::new(false);
/// Commands followed since a user event was made.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// Held while commands begin or cease to be followed.
static FOLLOW: Mutex<()> = Mutex::new(());

/// How long pocl's first user event waits for what is in the queues. Where the program has seen it end, its marker ends at once;
/// longer takes only what really runs, and that is not waited for.
const AT_REST: Duration = Duration::from_millis(100);
/// So many commands without an open user event, and they are not followed any more: what that costs where the program makes its
/// next user event is little against what they would.
const MANY_IDLE: usize = 256;
/// Events that a queue gathers before it looks which have ended.
const MANY: usize = 64;

/// Whether each command has to be followed.
#[inline]
pub fn is_followed() -> bool {
    FOLLOWED.load(Ordering::Relaxed)
}

/// Whether everything that runs in any queue is known.
pub fn is_known() -> bool {
    KNOWN.load(Ordering::Acquire)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&FOLLOW)
}

/// Whether the program has set all its user events.
#[inline]
pub fn none_open() -> bool {
    OPEN.load(Ordering::Relaxed) == 0
}

fn change() -> MutexGuard<'static, ()> {
    FOLLOW.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host_queues() -> Vec<Arc<Queue>> {
    let mut queues = handle::all::<Queue>();
    queues.retain(|queue| !queue.is_on_device());
    queues
}

/// The program makes a user event: commands are followed from now on.
pub fn opened() {
    let _one = change();
    if !is_known() {
        follow();
    }
    IDLE.store(0, Ordering::Relaxed);
    OPEN.fetch_add(1, Ordering::AcqRel);
}

/// A user event has its status, or went away without one.
pub fn closed() {
    OPEN.fetch_sub(1, Ordering::AcqRel);
}

/// A command was followed while no user event was open; after many of them no more are.
pub fn in_vain() {
    if IDLE.fetch_add(1, Ordering::Relaxed) < MANY_IDLE {
        return;
    }
    let _one = change();
    IDLE.store(0, Ordering::Relaxed);
    if none_open() && !host_queues().iter().any(|queue| queue.device.is_pocls()) {
        KNOWN.store(false, Ordering::Release);
        FOLLOWED.store(false, Ordering::SeqCst);
    }
}

/// What is in the queues by now gets a marker behind it, which in pocl's has ended, as a rule, before the program can put anything
/// behind that.
fn follow() {
    FOLLOWED.store(true, Ordering::SeqCst);
    // A thread that does not see this after its enqueue has its command in front of the marker.
    gate::barrier();
    let queues = host_queues();
    queues.iter().for_each(|queue| queue.fence());
    let pocls = queues.iter().filter(|queue| queue.device.is_pocls());
    let pocls: Vec<_> = pocls.collect();
    let deadline = Instant::now() + AT_REST;
    while pocls.iter().any(|queue| queue.running.is_busy()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(20));
    }
    // One that goes without having been among these leaves a marker, as long as this is not known.
    settle();
    KNOWN.store(true, Ordering::Release);
}

/// Waits until no queue is being dropped: what runs in it is known again then.
pub fn settle() {
    let deadline = Instant::now() + AT_REST;
    while handle::leaving::<Queue>() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// The driver's events of one queue's commands that may be running; those of commands that are held back are not among them.
#[derive(Default)]
pub struct Running(Mutex<List>);

#[derive(Default)]
struct List {
    events: Vec<cl_event>,
    /// So many, and it is time to look which have ended.
    full: usize,
    /// Something runs that has no event.
    is_lost: bool,
}

// SAFETY: OpenCL's events belong to no thread.
unsafe impl Send for List {}

fn release(event: cl_event) {
    // Nothing to do about a refusal: the driver keeps its event.
    let _ = status!(event, clReleaseEvent(event));
}

impl List {
    fn forget_ended(&mut self) {
        let (ended, open) = self
            .events
            .iter()
            .partition(|&&event| query::has_ended(event));
        self.events = open;
        self.full = MANY.max(2 * self.events.len());
        let ended: Vec<cl_event> = ended;
        if let Some(&first) = ended.first() {
            // Ends at once; what the commands wrote is visible to ours only behind it. One that failed has ended, too.
            let number = ended.len() as u32;
            let _ = status!(first, clWaitForEvents(number, ended.as_ptr()));
        }
        ended.into_iter().for_each(release);
    }
}

impl Running {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a driver's event over.
    pub fn add(&self, event: cl_event) {
        let mut list = self.list();
        if list.events.len() >= list.full {
            list.forget_ended();
        }
        list.events.push(event);
    }

    /// The same for an event that stays its owner's.
    pub fn share(&self, event: cl_event) {
        match status!(event, clRetainEvent(event)) {
            Ok(()) => self.add(event),
            Err(_) => self.lose(),
        }
    }

    /// Something runs that cannot be followed.
    pub fn lose(&self) {
        self.list().is_lost = true;
    }

    fn is_busy(&self) -> bool {
        let mut list = self.list();
        list.forget_ended();
        !list.events.is_empty()
    }

    /// All that may run, each retained; `None` where something has no event.
    pub fn now(&self) -> Option<Vec<cl_event>> {
        let list = self.list();
        if list.is_lost {
            return None;
        }
        let mut retained = Vec::new();
        for &event in &list.events {
            if status!(event, clRetainEvent(event)).is_err() {
                retained.into_iter().for_each(release);
                return None;
            }
            retained.push(event);
        }
        Some(retained)
    }

    /// Takes them out, to be released; and whether that is all.
    pub fn take(&self) -> (Vec<cl_event>, bool) {
        let list = std::mem::take(&mut *self.list());
        (list.events, !list.is_lost)
    }

    /// Everything has ended, and the driver goes.
    pub fn clear(&self) {
        self.take().0.into_iter().for_each(release);
    }
}
