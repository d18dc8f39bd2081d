//! User events and what an event says of its command.

use std::ptr::{null, null_mut};

use super::{Gpu, Handle, make, ok};
use opencl_sys::*;

pub fn user_event(gpu: &Gpu) -> Handle {
    make!(clCreateUserEvent(gpu.context))
}

/// Sets a user event and lets go of it.
pub fn set_user(event: Handle, status: i32) {
    ok!(clSetUserEventStatus(event, status));
    ok!(clReleaseEvent(event));
}

pub fn status_of(event: Handle) -> i32 {
    let mut status = i32::MAX;
    ok!(clGetEventInfo(
        event,
        CL_EVENT_COMMAND_EXECUTION_STATUS,
        4,
        (&raw mut status).cast(),
        null_mut()
    ));
    status
}

/// The pointer that goes with a wait list's length: null for none.
pub fn list_of(wait: &[Handle]) -> *const Handle {
    if wait.is_empty() {
        null()
    } else {
        wait.as_ptr()
    }
}
