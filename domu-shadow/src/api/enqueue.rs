//! Executing kernels; markers and barriers.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_BARRIER, CL_COMMAND_MARKER, CL_COMMAND_NATIVE_KERNEL, CL_COMMAND_NDRANGE_KERNEL,
    CL_COMMAND_TASK, CL_INVALID_VALUE, cl_command_queue, cl_event, cl_kernel, cl_mem,
};

use super::entry::entry;
use crate::core::CLResult;
use crate::core::event::{self, WaitList};
use crate::core::handle;
use crate::core::kernel::Kernel;
use crate::core::mem::Mem;
use crate::core::presence;
use crate::core::queue::Queue;
use crate::driver::dispatch::status;

entry! {
    fn clEnqueueNDRangeKernel(
        caller, queue: cl_command_queue, kernel: cl_kernel, dimensions: u32, offset: *const usize,
        global: *const usize, local: *const usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        kernel.need_arguments();
        let (q, k) = (queue.real.get(), kernel.real.get());
        event::issue(caller, queue, CL_COMMAND_NDRANGE_KERNEL, event, |event| {
            status!(q, clEnqueueNDRangeKernel(
                q, k, dimensions, offset, global, local, wait.count(), wait.pointer(), event
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
        kernel.need_arguments();
        let (q, k) = (queue.real.get(), kernel.real.get());
        event::issue(caller, queue, CL_COMMAND_TASK, event, |event| {
            status!(q, clEnqueueTask(q, k, wait.count(), wait.pointer(), event))
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
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let objects = caller.list(objects, count as usize).iter();
        let mems = objects.map(|&object| handle::borrow::<Mem>(caller, object));
        let mems = mems.collect::<CLResult<Vec<_>>>()?;
        presence::need_all(mems.iter().copied());
        let reals: Vec<_> = mems.iter().map(|mem| mem.real.get()).collect();
        let list = if reals.is_empty() { std::ptr::null() } else { reals.as_ptr() };
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_NATIVE_KERNEL, event, |event| {
            status!(q, clEnqueueNativeKernel(
                q, function, args, args_size, count, list, places, wait.count(), wait.pointer(), event
            ))
        })?;
        mems.iter().for_each(|mem| mem.mark_written());
        Ok(())
    }

    fn clEnqueueMarkerWithWaitList(
        caller, queue: cl_command_queue, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_MARKER, event, |event| {
            status!(q, clEnqueueMarkerWithWaitList(q, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueBarrierWithWaitList(
        caller, queue: cl_command_queue, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_BARRIER, event, |event| {
            status!(q, clEnqueueBarrierWithWaitList(q, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueMarker(caller, queue: cl_command_queue, event: *mut cl_event) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        if event.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_MARKER, event, |event| status!(q, clEnqueueMarker(q, event)))
    }

    fn clEnqueueBarrier(caller, queue: cl_command_queue) -> status {
        let q = handle::borrow::<Queue>(caller, queue)?.real.get();
        status!(q, clEnqueueBarrier(q))
    }

    fn clEnqueueWaitForEvents(caller, queue: cl_command_queue, count: u32, events: *const cl_event) -> status {
        let q = handle::borrow::<Queue>(caller, queue)?.real.get();
        if count == 0 || events.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let wait = WaitList::new(caller, count, events).map_err(|_| opencl_sys::CL_INVALID_EVENT)?;
        if wait.count() == 0 {
            return Ok(());
        }
        status!(q, clEnqueueWaitForEvents(q, wait.count(), wait.pointer()))
    }
}
