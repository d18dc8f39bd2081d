//! What the driver is told of every enqueue.

use std::ffi::c_void;

use opencl_sys::{cl_bool, cl_event};

use crate::CLResult;
use crate::driver::dispatch::status;

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
