//! The commands in flight in a queue, known by the driver's events of them.
//!
//! A move waits until everything that runs has ended. Normally it enqueues a marker and waits for that; these lists are empty. Once
//! the program has made a user event, commands are listed here instead: see [`super::open_user_events`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use opencl_sys::cl_event;

use crate::driver::dispatch::status;
use crate::driver::query;
use runtime::locks::lock;

/// Set while each command has to be listed.
static LISTING: AtomicBool = AtomicBool::new(false);
/// Set once the commands from before listing began have a marker in the lists.
static COMPLETE: AtomicBool = AtomicBool::new(false);

/// A list of this length is searched for events that have ended.
const MANY: usize = 64;

/// Whether each command has to be listed.
#[inline]
pub fn is_listing() -> bool {
    LISTING.load(Ordering::Relaxed)
}

/// Whether everything that runs in any queue is listed.
pub fn is_complete() -> bool {
    COMPLETE.load(Ordering::Acquire)
}

/// Every command is to be listed from now on.
pub(super) fn start_listing() {
    LISTING.store(true, Ordering::SeqCst);
}

/// What was in the queues before is listed, too.
pub(super) fn set_complete() {
    COMPLETE.store(true, Ordering::Release);
}

/// No command has to be listed any more.
pub(super) fn stop_listing() {
    COMPLETE.store(false, Ordering::Release);
    LISTING.store(false, Ordering::SeqCst);
}

/// The driver's events of one queue's commands that may be running. Deferred commands are not among them.
#[derive(Default)]
pub struct InFlight(Mutex<List>);

#[derive(Default)]
struct List {
    events: Vec<cl_event>,
    /// The length at which it is searched next.
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
            // Returns at once, and makes what the commands wrote visible to ours. A failed command has ended, too.
            let number = ended.len() as u32;
            let _ = status!(first, clWaitForEvents(number, ended.as_ptr()));
        }
        ended.into_iter().for_each(release);
    }
}

impl InFlight {
    fn list(&self) -> MutexGuard<'_, List> {
        lock(&self.0)
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

    /// Something runs that cannot be listed.
    pub fn lose(&self) {
        self.list().is_lost = true;
    }

    /// Whether any has not ended.
    pub fn is_busy(&self) -> bool {
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
