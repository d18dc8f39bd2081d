//! Statuses of events: set by the program, waited for, and called back; over the log of deferred commands.

use std::sync::Arc;

use opencl_sys::{CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, cl_int};

use super::deferred_commands::{self, defers, wait_while};
use crate::CLResult;
use crate::core::event::{Event, Notify};
use crate::core::queue::Queue;
use crate::driver::dispatch::status;

/// `clSetUserEventStatus`.
///
/// # Errors
/// `CL_INVALID_VALUE`, `CL_INVALID_OPERATION` if it was set before, `CL_INVALID_EVENT` if it is none, the driver's.
pub fn set(event: &Arc<Event>, status: cl_int) -> CLResult<()> {
    event.set_once(status)?;
    deferred_commands::ensure_resident();
    let real = event.real.get();
    let answer = status!(real, clSetUserEventStatus(real, status));
    deferred_commands::user_event_set();
    event.call_back(status);
    answer
}

/// `clSetEventCallback`.
///
/// # Errors
/// The driver's.
pub fn on_status(event: &Arc<Event>, stage: cl_int, call: Notify, user: usize) -> CLResult<()> {
    if event.queue().is_none() {
        event.on_user_status(stage, call, user);
        return Ok(());
    }
    if deferred_commands::if_deferred(event, || event.call_back_later(stage, call, user)) {
        return Ok(());
    }
    event.ask_driver(stage, call, user)
}

/// `clWaitForEvents`: outside of the gate while they are deferred, then in the driver.
///
/// # Errors
/// `CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST`, the driver's.
pub fn wait(events: &[Arc<Event>]) -> CLResult<()> {
    wait_while(|_| events.iter().any(|event| defers(event)));
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

/// Waits until the queue has no deferred commands.
pub fn wait_for_queue(queue: &Arc<Queue>) {
    wait_while(|log| log.has_queue(queue));
}
