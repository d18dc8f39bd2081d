//! Unified shared memory (`cl_intel_unified_shared_memory`). Its pointers are the driver's; while there is some, the process is not
//! moved.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_MEMADVISE_INTEL, CL_COMMAND_MEMCPY_INTEL, CL_COMMAND_MEMFILL_INTEL,
    CL_COMMAND_MIGRATEMEM_INTEL, CL_INVALID_ARG_INDEX, CL_INVALID_OPERATION,
    CL_MEM_ALLOC_DEVICE_INTEL, cl_bool, cl_command_queue, cl_context, cl_device_id, cl_event,
    cl_kernel, cl_mem_migration_flags,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, Place, Repeat, WaitList, issue_once};
use crate::core::{Caller, Context, Device, Kernel, Queue, handle};
use crate::driver::dispatch::check;
use crate::driver::functions::{create_extended, extended};
use crate::driver::query;

/// The driver's device; NULL for NULL.
fn real_device(caller: &Caller, device: cl_device_id) -> CLResult<*mut c_void> {
    if device.is_null() {
        return Ok(device);
    }
    Ok(handle::borrow::<Device>(caller, device)?.real.get())
}

/// What gives a command to the driver by a function of the extension's: `$place` ends its arguments.
macro_rules! give {
    ($queue:expr, $function:ident ( $place:ident: $($argument:expr),* $(,)? )) => {{
        let context = &$queue.context;
        let function = context.functions.$function(context.first_device()).ok_or(CL_INVALID_OPERATION)?;
        move |$place: &Place, (): &()| {
            let q = $place.queue;
            // SAFETY: the queue is the driver's own and live; pointers are the program's, as the extension wants them.
            check(unsafe { function(q, $($argument,)* $place.count, $place.list, $place.event) })
        }
    }};
}

entry! {
    fn clHostMemAllocINTEL(
        caller, context: cl_context, properties: *const u64, size: usize, alignment: u32,
    ) -> object {
        let context = handle::borrow::<Context>(caller, context)?;
        let c = context.real.get();
        context.usm.add(|| create_extended!(context, clHostMemAllocINTEL(c, properties, size, alignment)))
    }

    fn clDeviceMemAllocINTEL(
        caller, context: cl_context, device: cl_device_id, properties: *const u64, size: usize, alignment: u32,
    ) -> object {
        let context = handle::borrow::<Context>(caller, context)?;
        let (c, d) = (context.real.get(), real_device(caller, device)?);
        context.usm.add(|| create_extended!(context, clDeviceMemAllocINTEL(c, d, properties, size, alignment)))
    }

    fn clSharedMemAllocINTEL(
        caller, context: cl_context, device: cl_device_id, properties: *const u64, size: usize, alignment: u32,
    ) -> object {
        let context = handle::borrow::<Context>(caller, context)?;
        let (c, d) = (context.real.get(), real_device(caller, device)?);
        context.usm.add(|| create_extended!(context, clSharedMemAllocINTEL(c, d, properties, size, alignment)))
    }

    fn clMemFreeINTEL(caller, context: cl_context, memory: *mut c_void) -> status {
        let context = handle::borrow::<Context>(caller, context)?;
        let c = context.real.get();
        context.usm.remove(memory, || extended!(context, clMemFreeINTEL(c, memory)))
    }

    fn clMemBlockingFreeINTEL(caller, context: cl_context, memory: *mut c_void) -> status {
        let context = handle::borrow::<Context>(caller, context)?;
        let c = context.real.get();
        context.usm.remove(memory, || extended!(context, clMemBlockingFreeINTEL(c, memory)))
    }

    fn clGetMemAllocInfoINTEL(
        caller, answer, context: cl_context, memory: *const c_void, parameter: u32,
    ) -> info {
        let context = handle::borrow::<Context>(caller, context)?;
        let c = context.real.get();
        let ask = |size, value, size_ret| {
            extended!(context, clGetMemAllocInfoINTEL(c, memory, parameter, size, value, size_ret))
        };
        match parameter {
            CL_MEM_ALLOC_DEVICE_INTEL => answer.handle(context.shadow_of(query::number(&ask)?)),
            _ => answer.driver(&ask),
        }
    }

    fn clSetKernelArgMemPointerINTEL(caller, kernel: cl_kernel, index: u32, memory: *const c_void) -> status {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let arg = kernel.args.get(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
        let k = kernel.real.get();
        extended!(kernel.program.context, clSetKernelArgMemPointerINTEL(k, index, memory))?;
        arg.set_usm(memory as usize);
        Ok(())
    }

    fn clEnqueueMemFillINTEL(
        caller, queue: cl_command_queue, to: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_MEMFILL_INTEL, &wait, event);
        let give = give!(queue, clEnqueueMemFillINTEL(place: to, pattern, pattern_size, size));
        issue_once(caller, command, Repeat::MustRun, (), give)
    }

    fn clEnqueueMemcpyINTEL(
        caller, queue: cl_command_queue, blocking: cl_bool, to: *mut c_void, from: *const c_void, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::blocking(&queue, CL_COMMAND_MEMCPY_INTEL, &wait, event);
        let give = give!(queue, clEnqueueMemcpyINTEL(place: place.blocking, to, from, size));
        issue_once(caller, command, Repeat::MustRun, (), give)
    }

    fn clEnqueueMigrateMemINTEL(
        caller, queue: cl_command_queue, memory: *const c_void, size: usize, flags: cl_mem_migration_flags,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_MIGRATEMEM_INTEL, &wait, event);
        let give = give!(queue, clEnqueueMigrateMemINTEL(place: memory, size, flags));
        issue_once(caller, command, Repeat::MustRun, (), give)
    }

    fn clEnqueueMemAdviseINTEL(
        caller, queue: cl_command_queue, memory: *const c_void, size: usize, advice: u32, wait_count: u32,
        wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_MEMADVISE_INTEL, &wait, event);
        let give = give!(queue, clEnqueueMemAdviseINTEL(place: memory, size, advice));
        issue_once(caller, command, Repeat::MustRun, (), give)
    }
}

/// The extension's function of this name, null if it is none.
pub fn function(name: &[u8]) -> *mut c_void {
    match name {
        b"clHostMemAllocINTEL" => clHostMemAllocINTEL as *mut c_void,
        b"clDeviceMemAllocINTEL" => clDeviceMemAllocINTEL as *mut c_void,
        b"clSharedMemAllocINTEL" => clSharedMemAllocINTEL as *mut c_void,
        b"clMemFreeINTEL" => clMemFreeINTEL as *mut c_void,
        b"clMemBlockingFreeINTEL" => clMemBlockingFreeINTEL as *mut c_void,
        b"clGetMemAllocInfoINTEL" => clGetMemAllocInfoINTEL as *mut c_void,
        b"clSetKernelArgMemPointerINTEL" => clSetKernelArgMemPointerINTEL as *mut c_void,
        b"clEnqueueMemFillINTEL" => clEnqueueMemFillINTEL as *mut c_void,
        b"clEnqueueMemcpyINTEL" => clEnqueueMemcpyINTEL as *mut c_void,
        b"clEnqueueMigrateMemINTEL" => clEnqueueMigrateMemINTEL as *mut c_void,
        b"clEnqueueMemAdviseINTEL" => clEnqueueMemAdviseINTEL as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}
