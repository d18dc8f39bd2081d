//! User events, what an event says of its command, and the order of callbacks.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Callbacks run in order: when the one made here has come, all that were due before have.
pub fn fence() {
    unsafe extern "C" fn pass(_: Handle, user: *mut c_void) {
        // SAFETY: the leaked value of below.
        unsafe { &*user.cast::<AtomicBool>() }.store(true, Ordering::SeqCst);
    }
    // Leaked: a callback that came too late must not find freed memory.
    let passed = Box::leak(Box::new(AtomicBool::new(false)));
    let gpu = Gpu::new();
    ok!(clSetContextDestructorCallback(
        gpu.context,
        Some(pass),
        (&raw mut *passed).cast()
    ));
    drop(gpu);
    while !passed.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}
