//! The log of commands that the program's user events defer.
//!
//! The driver has such commands like all others, but a move cannot wait for them: they may never end. So the log keeps what
//! it takes to enqueue each of them once more. It is used only if a move comes in between: then the
//! driver's commands end unrun, and new ones wait for the new driver's user event. Which commands are deferred is
//! decided when they are enqueued, as a driver would: by their wait lists, and by what lies before them in their queue.
//! Only the program changes that, by setting the status of a user event.
//!
//! While no user event is open, which is nearly always, all this costs one load per enqueue. While one is, commands are listed
//! with their events ([`crate::core::in_flight`]), and enqueues take turns, so that the log has their order.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use opencl_sys::CL_COMPLETE;

use super::operands::Kept;
use super::place::Place;
use crate::CLResult;
use crate::core::event::Event;
use crate::core::handle::Object;
use crate::core::open_user_events;
use crate::core::queue::Queue;
use runtime::locks::lock;
use runtime::{gate, residency};

/// What a command waits for besides its wait list, in a queue that runs out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Free,
    /// With an empty wait list, for all commands before it.
    Marker,
    /// The same, and all commands behind it wait for it.
    Barrier,
}

/// Whether a command can be given to the driver a second time, the first one never having run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Can,
    /// A function of the program's would be called twice.
    CallsProgram,
    /// It is an extension's, and drivers crash where it ends unrun (pocl 3.1, with a command buffer).
    MustRun,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    entries: Vec::new(),
    changes: 0,
});
static CHANGED: Condvar = Condvar::new();

/// The deferred commands of all queues.
pub(super) struct Log {
    /// In the order of their enqueueing.
    pub(super) entries: Vec<Entry>,
    /// How often the program has set a user event, or a command was found to wait for one no more.
    changes: u64,
}

/// A deferred command.
pub(super) struct Entry {
    pub(super) queue: Arc<Queue>,
    pub(super) order: Order,
    pub(super) waits: Vec<Arc<Event>>,
    /// `None` for functions that give none.
    pub(super) event: Option<Arc<Event>>,
    pub(super) command: Arc<dyn DeferredCommand>,
    pub(super) repeat: Repeat,
}

// SAFETY: what makes an entry not `Send` is pointers: the driver's handles, usable from any thread, and the program's
// own, which it has given away until the command ends, also for another thread's use.
unsafe impl Send for Log {}

/// A command that can be given to a driver again.
pub(super) trait DeferredCommand {
    fn enqueue(&self, place: &Place) -> CLResult<()>;
    fn mark_written(&self);
    fn ensure_resident(&self);
}

/// The operands, and how the program's call gave them to the driver.
pub(super) struct Deferred<K, F> {
    pub(super) kept: K,
    pub(super) give: F,
}

impl<K: Kept, F: Fn(&Place, &K::Reals) -> CLResult<()>> DeferredCommand for Deferred<K, F> {
    fn enqueue(&self, place: &Place) -> CLResult<()> {
        self.kept.with(&|reals| (self.give)(place, reals))
    }
    fn mark_written(&self) {
        self.kept.mark_written();
    }
    fn ensure_resident(&self) {
        self.kept.ensure_resident();
    }
}

/// The log, while nothing else is enqueued.
pub(super) fn log() -> MutexGuard<'static, Log> {
    lock(&LOG)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&LOG)
}

/// Whether a command that waits for this event is deferred.
pub(super) fn defers(event: &Event) -> bool {
    event.is_open_user_event() || event.is_deferred()
}

/// Whether the event has ended with an error.
pub(super) fn has_failed(event: &Event) -> bool {
    event.status().is_ok_and(|status| status < CL_COMPLETE)
}

impl Log {
    /// Whether a command in this place waits for a user event. `before` are the deferred ones before it.
    pub(super) fn defers(
        before: &[Entry],
        queue: &Queue,
        order: Order,
        waits: &[Arc<Event>],
    ) -> bool {
        // The driver ends it unrun, whatever else it waits for, and after a move the next driver must, too.
        if waits.iter().any(|event| has_failed(event)) {
            return false;
        }
        if waits.iter().any(|event| defers(event)) {
            return true;
        }
        let waits_for_all = order != Order::Free && waits.is_empty();
        let mut same_queue = before
            .iter()
            .filter(|entry| entry.queue.slot().id() == queue.slot().id());
        same_queue
            .any(|entry| queue.is_in_order() || waits_for_all || entry.order == Order::Barrier)
    }

    pub(super) fn has_queue(&self, queue: &Arc<Queue>) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| Arc::ptr_eq(&entry.queue, queue))
    }

    /// Each queue with deferred commands once or more.
    pub(super) fn queues_in_order(&self) -> impl Iterator<Item = &Queue> {
        let mut last = None;
        let queues = self.entries.iter().map(|entry| &*entry.queue);
        queues.filter(move |queue| last.replace(queue.slot().id()) != Some(queue.slot().id()))
    }

    /// Takes out what nothing defers any more.
    fn take_ready(&mut self) -> Vec<Entry> {
        let mut ready = Vec::new();
        let mut still: Vec<Entry> = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            if Log::defers(&still, &entry.queue, entry.order, &entry.waits) {
                still.push(entry);
            } else {
                // An event is missing only from barriers of drivers of before OpenCL 1.2, which write nothing.
                if let Some(event) = &entry.event {
                    event.undefer();
                    entry.queue.in_flight.share(event.real.get());
                }
                ready.push(entry);
            }
        }
        self.entries = still;
        ready
    }
}

/// The program is about to set a user event: what that lets go needs its contents, which may still arrive after a move.
pub(super) fn ensure_resident() {
    if residency::is_arriving() {
        let log = log();
        let entries = log.entries.iter();
        let commands: Vec<_> = entries.map(|entry| Arc::clone(&entry.command)).collect();
        // Others go on meanwhile.
        drop(log);
        commands
            .iter()
            .for_each(|command| command.ensure_resident());
    }
}

/// The program has set a user event, and the driver knows: what it deferred may run now.
pub(super) fn user_event_set() {
    let mut log = log();
    log.changes += 1;
    let ready = log.take_ready();
    drop(log);
    open_user_events::closed();
    let_go(&ready);
}

/// Marked after the driver has them, as at any enqueue. Their objects may go with them, outside of the lock.
fn let_go(ready: &[Entry]) {
    CHANGED.notify_all();
    ready.iter().for_each(|entry| entry.command.mark_written());
}

/// Everything that is not deferred has ended: what waited for a command that failed is not deferred either.
pub fn look_again() {
    let mut log = log();
    let ready = log.take_ready();
    log.changes += u64::from(!ready.is_empty());
    drop(log);
    let_go(&ready);
}

/// Waits while `is_deferred` says so, outside of the gate: a move goes on meanwhile.
pub(super) fn wait_while(is_deferred: impl Fn(&Log) -> bool) {
    if open_user_events::none() {
        return;
    }
    while is_deferred(&log()) {
        gate::outside(|| {
            drop(CHANGED.wait_while(log(), |log| is_deferred(log)));
        });
    }
}

/// Runs `then` if the event's command is deferred, which does not change meanwhile.
pub(super) fn if_deferred(event: &Event, then: impl FnOnce()) -> bool {
    if open_user_events::none() {
        return false;
    }
    let _log = log();
    if event.is_deferred() {
        then();
    }
    event.is_deferred()
}

/// How often commands may have been let go so far: while that stays, what is deferred stays so.
pub fn changes() -> u64 {
    log().changes
}

/// Why the commands of now could not be enqueued again.
pub fn obstacle() -> Option<&'static str> {
    log().entries.iter().find_map(|entry| match entry.repeat {
        Repeat::Can => None,
        Repeat::CallsProgram => Some(
            "a command that calls a function of the program's waits for a user event of the program's",
        ),
        Repeat::MustRun => Some("an extension's command waits for a user event of the program's"),
    })
}
