//! The events that a command waits for.

use std::sync::Arc;

use opencl_sys::{cl_event, cl_int};

use crate::CLResult;
use crate::core::caller::Caller;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::queue::Queue;
use crate::driver::dispatch::{create, pointer, status};

/// A driver's event that has ended, for the list of a marker or barrier: an empty list would mean all commands.
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
    /// One of the driver's events, in place of those that ended before a move.
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

    /// For a marker or barrier: if the program's list has an event, the driver's has one, too.
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
        pointer(&self.reals)
    }
}
