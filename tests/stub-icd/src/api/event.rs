//! Events.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMPLETE, CL_EVENT_COMMAND_EXECUTION_STATUS, CL_EVENT_COMMAND_QUEUE, CL_EVENT_COMMAND_TYPE,
    CL_EVENT_CONTEXT, CL_EVENT_REFERENCE_COUNT, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST,
    CL_INVALID_VALUE, CL_PROFILING_COMMAND_COMPLETE, CL_PROFILING_COMMAND_END,
    CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_SUBMIT,
    CL_PROFILING_INFO_NOT_AVAILABLE, CL_SUBMITTED, cl_event, cl_int,
};

use crate::call::{creators, entry_points};
use crate::callback::EventNotify;
use crate::core::context::Context;
use crate::core::event::Event;
use crate::ffi::{HostOut, In, Out};
use crate::handle;
use crate::info::Answer;

type StatusNotify = Option<unsafe extern "C" fn(*mut c_void, cl_int, *mut c_void)>;

creators! {
    fn clCreateUserEvent(context: *mut c_void) {
        Ok(Event::user(handle::get::<Context>(context)?).handle())
    }
}

entry_points! {
    fn clRetainEvent(event: *mut c_void) {
        handle::retain::<Event>(event)
    }

    fn clReleaseEvent(event: *mut c_void) {
        handle::release::<Event>(event)
    }

    fn clSetUserEventStatus(event: *mut c_void, status: i32) {
        let event = handle::get::<Event>(event)?;
        // "`CL_INVALID_VALUE` if the execution_status is not CL_COMPLETE or a negative integer value."
        if status > CL_COMPLETE as cl_int {
            return Err(CL_INVALID_VALUE);
        }
        event.set_user_status(status)
    }

    fn clSetEventCallback(event: *mut c_void, at: i32, notify: StatusNotify, user_data: *mut c_void) {
        let event = handle::get::<Event>(event)?;
        let notify = EventNotify::new(notify, user_data).ok_or(CL_INVALID_VALUE)?;
        if !(CL_COMPLETE as cl_int..=CL_SUBMITTED as cl_int).contains(&at) {
            return Err(CL_INVALID_VALUE);
        }
        event.on_status(at, notify);
        Ok(())
    }

    fn clWaitForEvents(count: u32, list: In<cl_event>) {
        let list = list.list(count as usize).filter(|list| !list.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let events = handle::get_all::<Event>(&list)?;
        for pair in events.windows(2) {
            pair[0].context.same(&pair[1].context, "an event of the list")?;
        }
        events.iter().for_each(|event| event.flush_queue());
        let failed = events.iter().map(|event| event.wait()).filter(|&status| status < 0).count();
        if failed == 0 { Ok(()) } else { Err(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) }
    }

    fn clGetEventInfo(event: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let event = handle::get::<Event>(event)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_EVENT_COMMAND_QUEUE => {
                answer.value(event.queue.as_ref().map_or(std::ptr::null_mut(), |queue| queue.handle()))
            }
            CL_EVENT_CONTEXT => answer.value(event.context.slot.handle()),
            CL_EVENT_COMMAND_TYPE => answer.value(event.command),
            CL_EVENT_COMMAND_EXECUTION_STATUS => answer.value(event.status()),
            CL_EVENT_REFERENCE_COUNT => answer.value(event.slot.references()),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clGetEventProfilingInfo(event: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let event = handle::get::<Event>(event)?;
        let stamps = event.queue.as_ref().filter(|queue| queue.profiles()).and_then(|_| event.stamps());
        let [queued, submitted, started, ended] = stamps.ok_or(CL_PROFILING_INFO_NOT_AVAILABLE)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_PROFILING_COMMAND_QUEUED => answer.value(queued),
            CL_PROFILING_COMMAND_SUBMIT => answer.value(submitted),
            CL_PROFILING_COMMAND_START => answer.value(started),
            CL_PROFILING_COMMAND_END | CL_PROFILING_COMMAND_COMPLETE => answer.value(ended),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
