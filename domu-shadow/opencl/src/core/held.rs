//! Commands that the program's user events hold back, and the log from which a move enqueues them again.
//!
//! They are with the driver like all others, which knows what they wait for; a move could wait for their end for ever.
//! So the log has what it takes to enqueue each of them once more, to be used only if a move comes in between: then the
//! driver's commands end unrun, and new ones wait for the new driver's user event. Which commands are held back is
//! decided when they are enqueued, as a driver would: by their wait lists, and by what lies before them in their queue.
//! That never changes but by the program setting the status of a user event.
//!
//! While no user event is open, which is nearly always, all this costs one load per enqueue. While one is, commands are followed by
//! their events ([`super::running`]), and enqueues take turns, so that the log has their order.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opencl_sys::{
    CL_COMPLETE, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, CL_FALSE, CL_OUT_OF_RESOURCES,
    cl_event,
};

use super::caller::Caller;
use super::command::{Command, Ended, Kept, Operands, Order, Place, Repeat};
use super::event::Event;
use super::handle::{self, Object};
use super::queue::Queue;
use super::running;
use crate::CLResult;
use crate::driver::dispatch::status;
use crate::driver::query;
use runtime::{gate, residency};

static LOG: Mutex<Log> = Mutex::new(Log {
    entries: Vec::new(),
    changes: 0,
});
static CHANGED: Condvar = Condvar::new();

/// How long a driver may take to end the commands that it will never run.
const GIVING_UP: Duration = Duration::from_secs(10);

struct Log {
    /// In the order of their enqueueing.
    entries: Vec<Entry>,
    /// How often the program has set a user event, or a command was found to wait for one no more.
    changes: u64,
}

struct Entry {
    queue: Arc<Queue>,
    order: Order,
    waits: Vec<Arc<Event>>,
    /// `None` for functions that give none.
    event: Option<Arc<Event>>,
    again: Arc<dyn Again>,
    repeat: Repeat,
}

// SAFETY: what makes an entry not `Send` is pointers: the driver's handles, usable from any thread, and the program's
// own, which it has given away until the command ends, also for another thread's use.
unsafe impl Send for Log {}

/// A command that can be given to a driver again.
trait Again {
    fn enqueue(&self, place: &Place) -> CLResult<()>;
    fn mark_written(&self);
    fn ensure_resident(&self);
}

struct Enqueue<K, F> {
    kept: K,
    give: F,
}

impl<K: Kept, F: Fn(&Place, &K::Reals) -> CLResult<()>> Again for Enqueue<K, F> {
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

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&LOG)
}

fn held_by(event: &Event) -> bool {
    event.is_open_user_event() || event.is_held()
}

fn has_failed(event: &Event) -> bool {
    event.status().is_ok_and(|status| status < CL_COMPLETE)
}

impl Log {
    /// Whether a command in this place waits for a user event. `before` are the held ones before it.
    fn holds(before: &[Entry], queue: &Queue, order: Order, waits: &[Arc<Event>]) -> bool {
        // The driver ends it unrun, whatever else it waits for; no other may do otherwise after a move.
        if waits.iter().any(|event| has_failed(event)) {
            return false;
        }
        if waits.iter().any(|event| held_by(event)) {
            return true;
        }
        let waits_for_all = order != Order::Free && waits.is_empty();
        let mut same_queue = before
            .iter()
            .filter(|entry| entry.queue.slot().id() == queue.slot().id());
        same_queue
            .any(|entry| queue.is_in_order() || waits_for_all || entry.order == Order::Barrier)
    }

    fn in_queue(&self, queue: &Arc<Queue>) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| Arc::ptr_eq(&entry.queue, queue))
    }

    /// Each queue with held commands once or more.
    fn queues_in_order(&self) -> impl Iterator<Item = &Queue> {
        let mut last = None;
        let queues = self.entries.iter().map(|entry| &*entry.queue);
        queues.filter(move |queue| last.replace(queue.slot().id()) != Some(queue.slot().id()))
    }

    /// Takes out what nothing holds back any more.
    fn released(&mut self) -> Vec<Entry> {
        let mut released = Vec::new();
        let mut still: Vec<Entry> = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            if Log::holds(&still, &entry.queue, entry.order, &entry.waits) {
                still.push(entry);
            } else {
                // An event is missing only from barriers of drivers of before OpenCL 1.2, which write nothing.
                if let Some(event) = &entry.event {
                    event.release_hold();
                    entry.queue.running.share(event.real.get());
                }
                released.push(entry);
            }
        }
        self.entries = still;
        released
    }
}

/// [`super::command::issue`] in a program that has made user events.
#[cold]
pub fn issue<O: Operands>(
    caller: &Caller,
    command: &Command<'_>,
    operands: O,
    give: impl Fn(&Place, &O::Reals) -> CLResult<()> + 'static,
    repeat: Repeat,
) -> CLResult<()> {
    if running::none_open() {
        return followed(caller, command, |place| give(place, &operands.reals()));
    }
    let queue = handle::shared(command.queue);
    let waits = command.wait.events(caller);
    let mut log = log();
    let is_held = Log::holds(&log.entries, &queue, command.order, &waits);
    let mut real = std::ptr::null_mut();
    let place = Place {
        queue: queue.real.get(),
        // The wait is below, where a move need not wait for it.
        blocking: CL_FALSE,
        count: command.wait.count(),
        list: command.wait.pointer(),
        event: &raw mut real,
    };
    give(&place, &operands.reals())?;
    let event = (!real.is_null()).then(|| Event::of_command(&queue, command.kind, real));
    let blocking = command.blocking != CL_FALSE;
    // A move during the wait must find the event among all others.
    let published = event.clone().filter(|_| blocking || !command.out.is_null());
    let published = published.map(handle::publish);
    if is_held {
        if let Some(event) = &event {
            event.hold();
        }
        log.entries.push(Entry {
            queue: Arc::clone(&queue),
            order: command.order,
            waits,
            event: event.clone(),
            again: Arc::new(Enqueue {
                kept: operands.keep(),
                give,
            }),
            repeat,
        });
    } else if event.is_some() {
        queue.running.share(real);
    }
    drop(log);
    let waited = match &event {
        Some(event) if blocking => wait(std::slice::from_ref(event)),
        _ => Ok(()),
    };
    match published {
        Some(event) if command.out.is_null() => handle::release::<Event>(event)?,
        Some(event) => caller.give(command.out, event),
        None => {}
    }
    waited
}

/// Nothing is held back.
fn followed(
    caller: &Caller,
    command: &Command<'_>,
    give: impl FnOnce(&Place) -> CLResult<()>,
) -> CLResult<()> {
    running::in_vain();
    let is_blocking = command.blocking != CL_FALSE;
    let mut real = std::ptr::null_mut();
    let mut place = command.place();
    if !is_blocking || !command.out.is_null() {
        place.event = &raw mut real;
    }
    give(&place)?;
    if real.is_null() {
        return Ok(());
    }
    match (is_blocking, command.out.is_null()) {
        // It has ended.
        (true, _) => {}
        (false, true) => command.queue.running.add(real),
        (false, false) => command.queue.running.share(real),
    }
    command.give_event(caller, real);
    Ok(())
}

/// `clWaitForEvents`: held back outside of the gate, then in the driver.
///
/// # Errors
/// `CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST`, the driver's.
pub fn wait(events: &[Arc<Event>]) -> CLResult<()> {
    wait_while(|_| events.iter().any(|event| held_by(event)));
    let reals = events.iter().map(|event| event.real.get());
    let reals: Vec<_> = reals.filter(|real| !real.is_null()).collect();
    if let Some(&first) = reals.first() {
        let number = u32::try_from(reals.len()).unwrap_or(u32::MAX);
        status!(first, clWaitForEvents(number, reals.as_ptr()))?;
    }
    // Those without a driver's event had ended before a move.
    let failed = |event: &Arc<Event>| {
        event.real.get().is_null() && event.status().is_ok_and(|status| status < 0)
    };
    if events.iter().any(failed) {
        return Err(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    }
    Ok(())
}

/// The program is about to set a user event: what that lets go needs its contents, which may still arrive after a move.
pub fn need_contents() {
    if residency::is_arriving() {
        let log = log();
        let entries = log.entries.iter();
        let again: Vec<_> = entries.map(|entry| Arc::clone(&entry.again)).collect();
        // Others go on meanwhile.
        drop(log);
        again.iter().for_each(|again| again.ensure_resident());
    }
}

/// The program has set a user event, and the driver knows: what it held back may run now.
pub fn released() {
    let mut log = log();
    log.changes += 1;
    let released = log.released();
    drop(log);
    running::closed();
    let_go(&released);
}

/// Marked after the driver has them, as at any enqueue. Their objects may go with them, outside of the lock.
fn let_go(released: &[Entry]) {
    CHANGED.notify_all();
    released.iter().for_each(|entry| entry.again.mark_written());
}

/// Everything that nothing holds back has ended: what waited for a command that failed is not held back either.
pub fn look_again() {
    let mut log = log();
    let released = log.released();
    log.changes += u64::from(!released.is_empty());
    drop(log);
    let_go(&released);
}

/// Waits while `is_held` says so, outside of the gate: a move goes on meanwhile.
fn wait_while(is_held: impl Fn(&Log) -> bool) {
    if running::none_open() {
        return;
    }
    while is_held(&log()) {
        gate::outside(|| {
            drop(CHANGED.wait_while(log(), |log| is_held(log)));
        });
    }
}

/// Until the queue has no held commands.
pub fn wait_for_queue(queue: &Arc<Queue>) {
    wait_while(|log| log.in_queue(queue));
}

/// Runs `defer` if the event is held back; it will not be released meanwhile.
pub fn if_held(event: &Event, defer: impl FnOnce()) -> bool {
    if running::none_open() {
        return false;
    }
    let _log = log();
    if event.is_held() {
        defer();
    }
    event.is_held()
}

/// How often commands may have been let go so far: while that stays, what is held back stays so.
pub fn changes() -> u64 {
    log().changes
}

fn flush(queue: &Queue) -> CLResult<()> {
    let real = queue.real.get();
    status!(real, clFlush(real))
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

/// Before the drivers go: their user events fail, which ends the commands behind them unrun. Should a driver run some
/// all the same, the contents are captured already, and what they write to host memory comes again.
pub fn give_up() {
    handle::all::<Queue>()
        .iter()
        .for_each(|queue| queue.running.clear());
    let log = log();
    if log.entries.is_empty() {
        return;
    }
    for event in handle::all::<Event>() {
        event.unmake_user(CL_OUT_OF_RESOURCES);
    }
    for event in log.entries.iter().flat_map(|entry| &entry.waits) {
        event.unmake_user(CL_OUT_OF_RESOURCES);
    }
    // Some drivers end nothing that they were not told to begin.
    if let Err(code) = log.queues_in_order().try_for_each(flush) {
        log::warn!("a command queue was not flushed: OpenCL error {code}");
    }
    let deadline = Instant::now() + GIVING_UP;
    for entry in &log.entries {
        let Some(event) = &entry.event else { continue };
        let real = event.real.get();
        while query::event_status(real).is_ok_and(|status| status > CL_COMPLETE) {
            if Instant::now() > deadline {
                log::warn!("a driver does not end a command whose user event has failed");
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        event.unmake();
    }
}

/// After all objects have been made again: enqueues everything as it was.
///
/// # Errors
/// The driver's.
pub fn enqueue_again() -> CLResult<()> {
    let log = log();
    for event in log.entries.iter().flat_map(|entry| &entry.waits) {
        // Only the log may know it any more.
        event.remake()?;
    }
    for entry in &log.entries {
        if entry.waits.iter().any(|event| has_failed(event)) {
            return Err(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        }
        let waits = entry.waits.iter().map(|event| event.real.get());
        let mut waits: Vec<cl_event> = waits.filter(|event| !event.is_null()).collect();
        let mut ended = None;
        if waits.is_empty() && !entry.waits.is_empty() && entry.order != Order::Free {
            waits.push(ended.insert(Ended::new(&entry.queue)?).event());
        }
        let mut real = std::ptr::null_mut();
        let place = Place {
            queue: entry.queue.real.get(),
            blocking: CL_FALSE,
            count: waits.len() as u32,
            list: if waits.is_empty() {
                std::ptr::null()
            } else {
                waits.as_ptr()
            },
            event: &raw mut real,
        };
        entry.again.enqueue(&place)?;
        if let Some(event) = &entry.event {
            event.real.set(real);
        }
    }
    // The program had them flushed, perhaps.
    log.queues_in_order().try_for_each(flush)
}
