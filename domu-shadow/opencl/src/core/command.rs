//! Enqueueing: every command of the program's goes to the driver here.
//!
//! A command that the program's own user events hold back is also kept in a log ([`super::held`]), from which a move
//! enqueues it again. So what is enqueued is written as a function of the driver's handles and of copied values, which
//! can be called again later with other handles.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_FALSE, cl_bool, cl_command_type, cl_event, cl_int};

use super::caller::Caller;
use super::event::Event;
use super::handle::{self, Lent};
use super::held;
use super::kernel::Kernel;
use super::mem::Mem;
use super::queue::Queue;
use super::running;
use crate::CLResult;
use crate::driver::dispatch::{create, status};
use runtime::residency::ensure_resident;

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

/// The driver's side of an enqueue: queue, wait list, room for the event.
pub struct Place {
    pub queue: *mut c_void,
    pub blocking: cl_bool,
    pub count: u32,
    pub list: *const cl_event,
    pub event: *mut cl_event,
}

impl Place {
    /// Without a wait list.
    pub fn alone(queue: *mut c_void, blocking: cl_bool, event: *mut cl_event) -> Place {
        Place {
            queue,
            blocking,
            count: 0,
            list: std::ptr::null(),
            event,
        }
    }
}

/// The objects a command works on.
pub trait Operands {
    /// Their driver's handles.
    type Reals;
    type Kept: Kept<Reals = Self::Reals>;
    fn reals(&self) -> Self::Reals;
    fn keep(&self) -> Self::Kept;
}

/// Operands kept alive, as they are now, for enqueueing once more.
pub trait Kept: Send + 'static {
    type Reals;
    /// Calls `enqueue` with the driver's handles of now.
    ///
    /// # Errors
    /// Those of `enqueue`, and the driver's.
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()>;
    /// The command may be about to write them.
    fn mark_written(&self);
    /// Waits until their contents are there.
    fn ensure_resident(&self);
}

impl Operands for () {
    type Reals = ();
    type Kept = ();
    fn reals(&self) {}
    fn keep(&self) {}
}

impl Kept for () {
    type Reals = ();
    fn with(&self, enqueue: &dyn Fn(&()) -> CLResult<()>) -> CLResult<()> {
        enqueue(&())
    }
    fn mark_written(&self) {}
    fn ensure_resident(&self) {}
}

impl<const N: usize> Operands for [&Mem; N] {
    type Reals = [*mut c_void; N];
    type Kept = [Arc<Mem>; N];
    #[inline]
    fn reals(&self) -> Self::Reals {
        self.map(|mem| mem.real.get())
    }
    fn keep(&self) -> Self::Kept {
        self.map(handle::shared)
    }
}

impl<const N: usize> Kept for [Arc<Mem>; N] {
    type Reals = [*mut c_void; N];
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()> {
        enqueue(&std::array::from_fn(|at| self[at].real.get()))
    }
    fn mark_written(&self) {
        self.iter().for_each(|mem| mem.mark_written());
    }
    fn ensure_resident(&self) {
        ensure_resident(self.iter().map(|mem| &**mem));
    }
}

impl Operands for Vec<Arc<Mem>> {
    type Reals = Vec<*mut c_void>;
    type Kept = Vec<Arc<Mem>>;
    fn reals(&self) -> Self::Reals {
        self.iter().map(|mem| mem.real.get()).collect()
    }
    fn keep(&self) -> Self::Kept {
        self.clone()
    }
}

impl Kept for Vec<Arc<Mem>> {
    type Reals = Vec<*mut c_void>;
    fn with(&self, enqueue: &dyn Fn(&Self::Reals) -> CLResult<()>) -> CLResult<()> {
        enqueue(&self.iter().map(|mem| mem.real.get()).collect())
    }
    fn mark_written(&self) {
        self.iter().for_each(|mem| mem.mark_written());
    }
    fn ensure_resident(&self) {
        ensure_resident(self.iter().map(|mem| &**mem));
    }
}

impl Operands for &Kernel {
    type Reals = *mut c_void;
    type Kept = super::kernel::Run;
    #[inline]
    fn reals(&self) -> *mut c_void {
        self.real.get()
    }
    fn keep(&self) -> Self::Kept {
        super::kernel::Run::of(self)
    }
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
    if !running::is_followed() {
        return at_once(caller, &command, |place| give(place, &operands.reals()));
    }
    held::issue(caller, &command, operands, give, Repeat::Can)
}

/// The same for a command that cannot be repeated, as `repeat` says.
///
/// # Errors
/// As [`issue`].
pub fn issue_once<O: Operands>(
    caller: &Caller,
    command: Command<'_>,
    repeat: Repeat,
    operands: O,
    give: impl Fn(&Place, &O::Reals) -> CLResult<()> + 'static,
) -> CLResult<()> {
    if !running::is_followed() {
        return at_once(caller, &command, |place| give(place, &operands.reals()));
    }
    held::issue(caller, &command, operands, give, repeat)
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
    if running::is_followed() {
        // Another thread has made the program's first user event meanwhile.
        command.queue.fence();
    }
    command.give_event(caller, real);
    Ok(())
}

/// Enqueues a command that does nothing but give an event behind the wait list.
///
/// # Errors
/// The driver's.
pub fn marker(place: &Place) -> CLResult<()> {
    let q = place.queue;
    status!(
        q,
        clEnqueueMarkerWithWaitList(q, place.count, place.list, place.event)
    )
}

/// A driver's event that has ended: without one a marker's or barrier's list would be empty, which means all commands.
pub struct Ended(cl_event);

impl Ended {
    /// # Errors
    /// The driver's.
    pub fn new(queue: &Queue) -> CLResult<Ended> {
        let context = queue.context.real.get();
        let event = create!(context, clCreateUserEvent(context))?;
        let ended = Ended(event);
        status!(event, clSetUserEventStatus(event, opencl_sys::CL_COMPLETE))?;
        Ok(ended)
    }

    pub fn event(&self) -> cl_event {
        self.0
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Nothing to do about a refusal: the driver keeps its event.
        let _ = status!(self.0, clReleaseEvent(self.0));
    }
}

/// The driver's events of a wait list. Events that were complete before a move need no waiting.
pub struct WaitList {
    reals: Vec<cl_event>,
    /// The program's list.
    given: *const cl_event,
    length: u32,
    /// Among the driver's events, in the place of those that ended before a move.
    ended: Option<Ended>,
}

impl WaitList {
    pub const EMPTY: WaitList = WaitList {
        reals: Vec::new(),
        given: std::ptr::null(),
        length: 0,
        ended: None,
    };

    /// # Errors
    /// `CL_INVALID_EVENT_WAIT_LIST` for a bad list; `CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST` for an event that
    /// had failed before a move.
    #[inline]
    pub fn new(caller: &Caller, count: u32, events: *const cl_event) -> CLResult<WaitList> {
        const BAD: cl_int = opencl_sys::CL_INVALID_EVENT_WAIT_LIST;
        if (count == 0) != events.is_null() {
            return Err(BAD);
        }
        let mut reals = Vec::new();
        for &handle in caller.list(events, count as usize) {
            let event = handle::borrow::<Event>(caller, handle).map_err(|_| BAD)?;
            let real = event.real.get();
            if !real.is_null() {
                reals.push(real);
            } else if event.status()? < opencl_sys::CL_SUCCESS {
                return Err(opencl_sys::CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
            }
        }
        Ok(WaitList {
            reals,
            given: events,
            length: count,
            ended: None,
        })
    }

    /// For a marker or barrier: to the driver, too, the list has an event if the program's has.
    ///
    /// # Errors
    /// The driver's.
    pub fn with_all_ended(mut self, queue: &Queue) -> CLResult<WaitList> {
        if self.length > 0 && self.reals.is_empty() && !queue.is_in_order() {
            let ended = Ended::new(queue)?;
            self.reals.push(ended.event());
            self.ended = Some(ended);
        }
        Ok(self)
    }

    /// The shadows of all events in the list.
    pub fn events(&self, caller: &Caller) -> Vec<Arc<Event>> {
        let given = caller.list(self.given, self.length as usize).iter();
        given
            .filter_map(|&event| handle::share(event).ok())
            .collect()
    }

    /// How many of them the driver is to wait for.
    #[inline]
    pub fn count(&self) -> u32 {
        self.reals.len() as u32
    }

    /// Null for an empty list, as the specification asks.
    #[inline]
    pub fn pointer(&self) -> *const cl_event {
        if self.reals.is_empty() {
            std::ptr::null()
        } else {
            self.reals.as_ptr()
        }
    }
}
