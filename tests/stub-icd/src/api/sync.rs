//! Markers and barriers.

use std::ffi::c_void;

use opencl_sys::{CL_COMMAND_BARRIER, CL_COMMAND_MARKER, CL_INVALID_VALUE, cl_event};

use crate::call::entry_points;
use crate::core::command::Order;
use crate::core::enqueue::Enqueue;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, In, Out};
use crate::handle;

fn enqueue(
    queue: *mut c_void,
    (num_events, events): (u32, In<cl_event>),
    event: Out<cl_event>,
    command: u32,
) -> CLResult<()> {
    let queue = handle::get::<Queue>(queue)?;
    let order = match command {
        CL_COMMAND_BARRIER => Order::Barrier,
        _ if num_events == 0 => Order::AfterAll,
        _ => Order::Free,
    };
    Enqueue::new(&queue, num_events, events, event)?.submit(
        &queue,
        command,
        order,
        Box::new(|| Ok(())),
    )
}

entry_points! {
    fn clEnqueueMarkerWithWaitList(
        queue: *mut c_void,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        enqueue(queue, (num_events, events), event, CL_COMMAND_MARKER)
    }

    fn clEnqueueBarrierWithWaitList(
        queue: *mut c_void,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        enqueue(queue, (num_events, events), event, CL_COMMAND_BARRIER)
    }

    fn clEnqueueMarker(queue: *mut c_void, event: Out<cl_event>) {
        if event.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        enqueue(queue, (0, In::null()), event, CL_COMMAND_MARKER)
    }

    fn clEnqueueBarrier(queue: *mut c_void) {
        enqueue(queue, (0, In::null()), Out::null(), CL_COMMAND_BARRIER)
    }

    fn clEnqueueWaitForEvents(queue: *mut c_void, num_events: u32, events: In<cl_event>) {
        if num_events == 0 || events.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        enqueue(queue, (num_events, events), Out::null(), CL_COMMAND_BARRIER)
    }
}
