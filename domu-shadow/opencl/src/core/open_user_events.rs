//! Open user events: those whose status the program has not set. From the first one on, every command is listed with an event.
//!
//! A marker behind a deferred command would wait for the program. A marker in front of it would be one command more than the
//! program enqueued, and pocl 3.1 writes to freed memory if a user event fails while the command before the deferred ones has not
//! ended. So once the program makes a user event, each command is listed by its own event ([`super::in_flight`]). Commands
//! enqueued before that get one marker, which pocl is given time to end. An event for each command costs time, so listing stops
//! some time after the last user event was set, except in pocl's queues.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::handle;
use super::in_flight;
use super::queue::Queue;
use runtime::gate;
use runtime::locks::lock;

/// User events without a status.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Commands listed since a user event was made.
static IDLE: AtomicUsize = AtomicUsize::new(0);
/// Held while listing begins or ends.
static SWITCH: Mutex<()> = Mutex::new(());

/// How long pocl's first user event waits for the commands in the queues. If the program has seen them end, their marker ends at
/// once. Commands that really run take longer, and are not waited for.
const AT_REST: Duration = Duration::from_millis(100);
/// Listing ends after so many commands without an open user event. Beginning again costs little compared to listing them.
const MANY_IDLE: usize = 256;

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&SWITCH)
}

/// Whether the program has set all its user events.
#[inline]
pub fn none() -> bool {
    OPEN.load(Ordering::Relaxed) == 0
}

fn switch() -> MutexGuard<'static, ()> {
    lock(&SWITCH)
}

fn host_queues() -> Vec<Arc<Queue>> {
    let mut queues = handle::all::<Queue>();
    queues.retain(|queue| !queue.is_on_device());
    queues
}

/// The program makes a user event: commands are listed from now on.
pub fn opened() {
    let _one = switch();
    if !in_flight::is_complete() {
        list_all();
    }
    IDLE.store(0, Ordering::Relaxed);
    OPEN.fetch_add(1, Ordering::AcqRel);
}

/// A user event has its status, or went away without one.
pub fn closed() {
    OPEN.fetch_sub(1, Ordering::AcqRel);
}

/// A command was listed while no user event was open; after many of them listing ends.
pub fn listed_in_vain() {
    if IDLE.fetch_add(1, Ordering::Relaxed) < MANY_IDLE {
        return;
    }
    let _one = switch();
    IDLE.store(0, Ordering::Relaxed);
    if none() && !host_queues().iter().any(|queue| queue.device.is_pocls()) {
        in_flight::stop_listing();
    }
}

/// Begins listing: a marker stands for the commands so far. In pocl's queues it has normally ended before the program can enqueue
/// anything behind it.
fn list_all() {
    in_flight::start_listing();
    // A thread that does not see this after its enqueue has its command in front of the marker.
    gate::barrier();
    let queues = host_queues();
    queues.iter().for_each(|queue| queue.list_marker());
    let pocls = queues.iter().filter(|queue| queue.device.is_pocls());
    let pocls: Vec<_> = pocls.collect();
    let deadline = Instant::now() + AT_REST;
    while pocls.iter().any(|queue| queue.in_flight.is_busy()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(20));
    }
    // A queue that is dropped without having been among these leaves a marker, as long as the lists are not complete.
    wait_for_dropped_queues();
    in_flight::set_complete();
}

/// Waits until no queue is being dropped: from then on its commands are known again.
pub fn wait_for_dropped_queues() {
    let deadline = Instant::now() + AT_REST;
    while handle::leaving::<Queue>() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_micros(20));
    }
}
