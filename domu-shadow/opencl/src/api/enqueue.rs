//! Executing kernels; markers and barriers.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_BARRIER, CL_COMMAND_MARKER, CL_COMMAND_NATIVE_KERNEL, CL_COMMAND_NDRANGE_KERNEL,
    CL_COMMAND_TASK, CL_INVALID_VALUE, cl_command_queue, cl_event, cl_kernel, cl_mem,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, Order, Place, Repeat, WaitList, issue, issue_once, marker};
use crate::core::{Kernel, Mem, Queue, handle};
use crate::driver::dispatch::{pointer, status, table_of};
use runtime::residency::ensure_resident;

fn barrier(place: &Place) -> CLResult<()> {
    let q = place.queue;
    status!(
        q,
        clEnqueueBarrierWithWaitList(q, place.count, place.list, place.event)
    )
}

/// Whether an event is wanted of a function that gives none, and a barrier of OpenCL 1.2 can give one instead.
fn tells_end(place: &Place) -> bool {
    !place.event.is_null() && table_of(place.queue).clEnqueueBarrierWithWaitList.is_some()
}

entry! {
    fn clEnqueueNDRangeKernel(
        caller, queue: cl_command_queue, kernel: cl_kernel, dimensions: u32, offset: *const usize,
        global: *const usize, local: *const usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        kernel.ensure_resident();
        let sizes = dimensions as usize;
        let (offset, global) = (caller.sizes(offset, sizes), caller.sizes(global, sizes));
        let local = caller.sizes(local, sizes);
        let command = Command::new(queue, CL_COMMAND_NDRANGE_KERNEL, &wait, event);
        issue(caller, command, kernel, move |place, &k| {
            let q = place.queue;
            status!(q, clEnqueueNDRangeKernel(
                q, k, dimensions, offset.pointer(), global.pointer(), local.pointer(), place.count, place.list,
                place.event
            ))
        })?;
        kernel.mark_written();
        Ok(())
    }

    fn clEnqueueTask(
        caller, queue: cl_command_queue, kernel: cl_kernel, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        kernel.ensure_resident();
        let command = Command::new(queue, CL_COMMAND_TASK, &wait, event);
        issue(caller, command, kernel, move |place, &k| {
            let q = place.queue;
            status!(q, clEnqueueTask(q, k, place.count, place.list, place.event))
        })?;
        kernel.mark_written();
        Ok(())
    }

    /// The driver puts pointers to its memory where the program named memory objects; the handles are translated.
    fn clEnqueueNativeKernel(
        caller, queue: cl_command_queue, function: Option<unsafe extern "C" fn(*mut c_void)>, args: *mut c_void,
        args_size: usize, count: u32, objects: *const cl_mem, places: *mut *const c_void, wait_count: u32,
        wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        // Kept alive: the function may run, and let the program release them, before the driver returns.
        let queue = handle::share::<Queue>(queue)?;
        let objects = caller.list(objects, count as usize).iter();
        let mems = objects.map(|&object| handle::share::<Mem>(object));
        let mems = mems.collect::<CLResult<Vec<_>>>()?;
        ensure_resident(mems.iter().map(|mem| &**mem));
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(&queue, CL_COMMAND_NATIVE_KERNEL, &wait, event);
        issue_once(caller, command, Repeat::CallsProgram, mems.clone(), move |place, reals| {
            let q = place.queue;
            let list = pointer(reals);
            status!(q, clEnqueueNativeKernel(
                q, function, args, args_size, count, list, places, place.count, place.list, place.event
            ))
        })?;
        mems.iter().for_each(|mem| mem.mark_written());
        Ok(())
    }

    fn clEnqueueMarkerWithWaitList(
        caller, queue: cl_command_queue, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?.with_all_ended(queue)?;
        let command = Command::new(queue, CL_COMMAND_MARKER, &wait, event).order(Order::Marker);
        issue(caller, command, (), |place, ()| marker(place))
    }

    fn clEnqueueBarrierWithWaitList(
        caller, queue: cl_command_queue, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?.with_all_ended(queue)?;
        let command = Command::new(queue, CL_COMMAND_BARRIER, &wait, event).order(Order::Barrier);
        issue(caller, command, (), |place, ()| barrier(place))
    }

    fn clEnqueueMarker(caller, queue: cl_command_queue, event: *mut cl_event) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        if event.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let wait = WaitList::EMPTY;
        let command = Command::new(queue, CL_COMMAND_MARKER, &wait, event).order(Order::Marker);
        issue(caller, command, (), |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueMarker(q, place.event))
        })
    }

    fn clEnqueueBarrier(caller, queue: cl_command_queue) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::EMPTY;
        let command = Command::new(queue, CL_COMMAND_BARRIER, &wait, std::ptr::null_mut()).order(Order::Barrier);
        issue(caller, command, (), |place, ()| {
            let q = place.queue;
            if tells_end(place) { barrier(place) } else { status!(q, clEnqueueBarrier(q)) }
        })
    }

    fn clEnqueueWaitForEvents(caller, queue: cl_command_queue, count: u32, events: *const cl_event) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        if count == 0 || events.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let wait = WaitList::new(caller, count, events).map_err(|_| opencl_sys::CL_INVALID_EVENT)?;
        if wait.count() == 0 {
            return Ok(());
        }
        let command = Command::new(queue, CL_COMMAND_BARRIER, &wait, std::ptr::null_mut()).order(Order::Barrier);
        issue(caller, command, (), |place, ()| {
            let q = place.queue;
            if tells_end(place) {
                barrier(place)
            } else if place.count == 0 {
                // In a move the events may all have ended.
                Ok(())
            } else {
                status!(q, clEnqueueWaitForEvents(q, place.count, place.list))
            }
        })
    }
}
