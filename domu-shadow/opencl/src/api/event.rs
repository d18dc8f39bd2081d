//! Events.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_EVENT_COMMAND_QUEUE, CL_EVENT_COMMAND_TYPE,
    CL_EVENT_CONTEXT, CL_EVENT_REFERENCE_COUNT, CL_INVALID_CONTEXT, CL_INVALID_VALUE,
    CL_PROFILING_COMMAND_COMPLETE, CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_INFO_NOT_AVAILABLE,
    CL_RUNNING, CL_SUBMITTED, cl_context, cl_event, cl_event_info, cl_int, cl_profiling_info,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::event_status;
use crate::core::event::Notify;
use crate::core::{Context, Event, Object, handle};

entry! {
    fn clCreateUserEvent(_caller, context: cl_context) -> object {
        let context = handle::share::<Context>(context)?;
        Ok(handle::publish(Event::user(context)?))
    }

    #[drains]
    fn clSetUserEventStatus(_caller, event: cl_event, status: cl_int) -> status {
        event_status::set(&handle::share::<Event>(event)?, status)
    }

    fn clRetainEvent(_caller, event: cl_event) -> status {
        handle::retain::<Event>(event)
    }

    #[drains]
    fn clReleaseEvent(_caller, event: cl_event) -> status {
        handle::release::<Event>(event)
    }

    fn clWaitForEvents(caller, count: u32, events: *const cl_event) -> status {
        if count == 0 || events.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        // Kept alive: another thread may release its reference while this one waits.
        let events = caller.list(events, count as usize).iter().map(|&event| handle::share::<Event>(event));
        let events = events.collect::<CLResult<Vec<_>>>()?;
        if events.iter().any(|event| !Arc::ptr_eq(event.context(), events[0].context())) {
            return Err(CL_INVALID_CONTEXT);
        }
        event_status::wait(&events)
    }

    fn clGetEventInfo(caller, answer, event: cl_event, parameter: cl_event_info) -> info {
        let event = handle::borrow::<Event>(caller, event)?;
        match parameter {
            CL_EVENT_COMMAND_QUEUE => {
                answer.handle(event.queue().map_or(std::ptr::null_mut(), |queue| queue.slot().handle()))
            }
            CL_EVENT_CONTEXT => answer.handle(event.context().slot().handle()),
            CL_EVENT_COMMAND_TYPE => answer.uint(event.command),
            CL_EVENT_COMMAND_EXECUTION_STATUS => answer.bytes(&event.status()?.to_ne_bytes()),
            CL_EVENT_REFERENCE_COUNT => answer.uint(event.slot().references()),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clSetEventCallback(
        _caller,
        event: cl_event,
        stage: cl_int,
        call: Option<Notify>,
        user: *mut c_void,
    ) -> status {
        let event = handle::share::<Event>(event)?;
        let call = call.ok_or(CL_INVALID_VALUE)?;
        if ![CL_COMPLETE, CL_RUNNING, CL_SUBMITTED].contains(&stage) {
            return Err(CL_INVALID_VALUE);
        }
        event_status::on_status(&event, stage, call, user as usize)
    }

    fn clGetEventProfilingInfo(caller, answer, event: cl_event, parameter: cl_profiling_info) -> info {
        let event = handle::borrow::<Event>(caller, event)?;
        if event.queue().is_none() {
            return Err(CL_PROFILING_INFO_NOT_AVAILABLE);
        }
        if !(CL_PROFILING_COMMAND_QUEUED..=CL_PROFILING_COMMAND_COMPLETE).contains(&parameter) {
            return Err(CL_INVALID_VALUE);
        }
        answer.long(event.profile(parameter)?)
    }
}
