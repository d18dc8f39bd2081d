//! Enqueueing: every command of the program's goes to the driver here.
//!
//! A command that the program's own user events defer is also kept in a log ([`super::deferred_commands`]), from which a move
//! enqueues it again. So what is enqueued is written as a function of the driver's handles and of copied values, which
//! can be called again later with other handles.

use std::sync::Arc;

use opencl_sys::{CL_FALSE, cl_bool, cl_command_type, cl_event};

use super::deferred_commands::{self, Deferred, Entry, Log, Order, Repeat};
use super::event_status;
use super::operands::Operands;
use super::place::Place;
use super::wait_list::WaitList;
use crate::CLResult;
use crate::core::caller::Caller;
use crate::core::event::Event;
use crate::core::handle::{self, Lent};
use crate::core::in_flight;
use crate::core::open_user_events;
use crate::core::queue::Queue;

/// One enqueue, as the program called for it.
pub struct Command<'a> {
    pub queue: &'a Queue,
    pub kind: cl_command_type,
    pub order: Order,
    pub blocking: cl_bool,
    pub wait: &'a WaitList,
    /// Where the program wants the event; NULL for none.
    pub out: *mut cl_event,
}

impl<'a> Command<'a> {
    pub fn new(
        queue: &'a Queue,
        kind: cl_command_type,
        wait: &'a WaitList,
        out: *mut cl_event,
    ) -> Self {
        Command {
            queue,
            kind,
            order: Order::Free,
            blocking: CL_FALSE,
            wait,
            out,
        }
    }

    /// One that blocks if the call does for which the queue was lent.
    pub fn blocking(
        queue: &'a Lent<'_, Queue>,
        kind: cl_command_type,
        wait: &'a WaitList,
        out: *mut cl_event,
    ) -> Self {
        Command {
            blocking: queue.blocking(),
            ..Command::new(queue, kind, wait, out)
        }
    }

    pub fn order(self, order: Order) -> Self {
        Command { order, ..self }
    }

    /// Where the driver is to put it, and no event of it.
    #[inline]
    pub fn place(&self) -> Place {
        Place {
            queue: self.queue.real.get(),
            blocking: self.blocking,
            count: self.wait.count(),
            list: self.wait.pointer(),
            event: std::ptr::null_mut(),
        }
    }

    /// Gives the driver's event to the program, if it wants one.
    #[inline]
    pub fn give_event(&self, caller: &Caller, real: cl_event) {
        if !self.out.is_null() {
            let event = Event::of_command(self.queue, self.kind, real);
            caller.give(self.out, handle::publish(event));
        }
    }
}

/// Gives a command to the driver by `give`, and its event to the program.
///
/// # Errors
/// Those of `give`, the driver's.
#[inline]
pub fn issue<O: Operands>(
    caller: &Caller,
    command: Command<'_>,
    operands: O,
    give: impl Fn(&Place, &O::Reals) -> CLResult<()> + 'static,
) -> CLResult<()> {
    issue_once(caller, command, Repeat::Can, operands, give)
}

/// The same for a command that `repeat` says whether to enqueue again.
///
/// # Errors
/// As [`issue`].
#[inline]
pub fn issue_once<O: Operands>(
    caller: &Caller,
    command: Command<'_>,
    repeat: Repeat,
    operands: O,
    give: impl Fn(&Place, &O::Reals) -> CLResult<()> + 'static,
) -> CLResult<()> {
    if !in_flight::is_listing() {
        return at_once(caller, &command, |place| give(place, &operands.reals()));
    }
    issue_listed(caller, &command, operands, give, repeat)
}

#[inline]
fn at_once(
    caller: &Caller,
    command: &Command<'_>,
    give: impl FnOnce(&Place) -> CLResult<()>,
) -> CLResult<()> {
    let mut place = command.place();
    let mut real = std::ptr::null_mut();
    if !command.out.is_null() {
        place.event = &raw mut real;
    }
    give(&place)?;
    if in_flight::is_listing() {
        // Another thread has made the program's first user event meanwhile.
        command.queue.list_marker();
    }
    command.give_event(caller, real);
    Ok(())
}

/// [`issue`] in a program that has made user events.
#[cold]
fn issue_listed<O: Operands>(
    caller: &Caller,
    command: &Command<'_>,
    operands: O,
    give: impl Fn(&Place, &O::Reals) -> CLResult<()> + 'static,
    repeat: Repeat,
) -> CLResult<()> {
    if open_user_events::none() {
        return not_deferred(caller, command, |place| give(place, &operands.reals()));
    }
    let queue = handle::shared(command.queue);
    let waits = command.wait.events(caller);
    let mut log = deferred_commands::log();
    let is_deferred = Log::defers(&log.entries, &queue, command.order, &waits);
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
    if is_deferred {
        if let Some(event) = &event {
            event.defer();
        }
        log.entries.push(Entry {
            queue: Arc::clone(&queue),
            order: command.order,
            waits,
            event: event.clone(),
            command: Arc::new(Deferred {
                kept: operands.keep(),
                give,
            }),
            repeat,
        });
    } else if event.is_some() {
        queue.in_flight.share(real);
    }
    drop(log);
    let waited = match &event {
        Some(event) if blocking => event_status::wait(std::slice::from_ref(event)),
        _ => Ok(()),
    };
    match published {
        Some(event) if command.out.is_null() => handle::release::<Event>(event)?,
        Some(event) => caller.give(command.out, event),
        None => {}
    }
    waited
}

/// No user event is open.
fn not_deferred(
    caller: &Caller,
    command: &Command<'_>,
    give: impl FnOnce(&Place) -> CLResult<()>,
) -> CLResult<()> {
    open_user_events::listed_in_vain();
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
        (false, true) => command.queue.in_flight.add(real),
        (false, false) => command.queue.in_flight.share(real),
    }
    command.give_event(caller, real);
    Ok(())
}
