//! Shared virtual memory: passed through. A process that has some cannot be moved.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_SVM_FREE, CL_COMMAND_SVM_MAP, CL_COMMAND_SVM_MEMCPY, CL_COMMAND_SVM_MEMFILL,
    CL_COMMAND_SVM_MIGRATE_MEM, CL_COMMAND_SVM_UNMAP, CL_INVALID_OPERATION, CL_OUT_OF_HOST_MEMORY,
    cl_bool, cl_command_queue, cl_context, cl_event, cl_kernel, cl_map_flags,
    cl_mem_migration_flags, cl_svm_mem_flags,
};

use super::entry::entry;
use crate::core::context::Context;
use crate::core::event::{self, WaitList};
use crate::core::handle;
use crate::core::kernel::Kernel;
use crate::core::movable;
use crate::core::queue::Queue;
use crate::driver::dispatch::{status, table_of};

/// Why a process that uses it cannot be moved.
pub const REASON: &str = "shared virtual memory";

type Free = unsafe extern "C" fn(cl_command_queue, u32, *mut *mut c_void, *mut c_void);

/// The program's function for `clEnqueueSVMFree`, with the queue as the program knows it.
struct Freeing {
    call: Free,
    user: *mut c_void,
    queue: cl_command_queue,
}

unsafe extern "C" fn freeing(
    _real: cl_command_queue,
    count: u32,
    pointers: *mut *mut c_void,
    user: *mut c_void,
) {
    // SAFETY: `user` is the box leaked for this call, which a driver makes once.
    let freeing = unsafe { Box::from_raw(user.cast::<Freeing>()) };
    // The memory must be gone when the command ends, so the program's function runs here.
    // SAFETY: the program gave the function for these arguments.
    unsafe { (freeing.call)(freeing.queue, count, pointers, freeing.user) };
}

entry! {
    fn clSVMAlloc(caller, context: cl_context, flags: cl_svm_mem_flags, size: usize, alignment: u32) -> pointer {
        let real = handle::borrow::<Context>(caller, context)?.real.get();
        let allocate = table_of(real).clSVMAlloc.ok_or(CL_INVALID_OPERATION)?;
        // SAFETY: the context is the driver's own and live; the other arguments are numbers.
        let memory = unsafe { allocate(real, flags, size, alignment) };
        if memory.is_null() {
            return Err(CL_OUT_OF_HOST_MEMORY);
        }
        movable::block(REASON);
        Ok(memory)
    }

    fn clSVMFree(caller, context: cl_context, memory: *mut c_void) -> nothing {
        let real = handle::borrow::<Context>(caller, context)?.real.get();
        let free = table_of(real).clSVMFree.ok_or(CL_INVALID_OPERATION)?;
        // SAFETY: the context is the driver's own and live; the memory is the program's to free.
        unsafe { free(real, memory) };
        Ok(())
    }

    fn clEnqueueSVMFree(
        caller, queue: cl_command_queue, count: u32, pointers: *mut *mut c_void, call: Option<Free>,
        user: *mut c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let shadow = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = shadow.real.get();
        let boxed = call.map(|call| Box::into_raw(Box::new(Freeing { call, user, queue })));
        let (function, user) = match boxed {
            Some(boxed) => (Some(freeing as Free), boxed.cast()),
            None => (None, user),
        };
        let answer = event::issue(caller, shadow, CL_COMMAND_SVM_FREE, event, |event| {
            status!(q, clEnqueueSVMFree(q, count, pointers, function, user, wait.count(), wait.pointer(), event))
        });
        if let (Err(_), Some(boxed)) = (answer, boxed) {
            // SAFETY: the driver refused the command, so the box is still ours.
            drop(unsafe { Box::from_raw(boxed) });
        }
        answer
    }

    fn clEnqueueSVMMemcpy(
        caller, queue: cl_command_queue, blocking: cl_bool, to: *mut c_void, from: *const c_void, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_SVM_MEMCPY, event, |event| {
            status!(q, clEnqueueSVMMemcpy(q, blocking, to, from, size, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueSVMMemFill(
        caller, queue: cl_command_queue, to: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_SVM_MEMFILL, event, |event| {
            status!(q, clEnqueueSVMMemFill(q, to, pattern, pattern_size, size, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueSVMMap(
        caller, queue: cl_command_queue, blocking: cl_bool, flags: cl_map_flags, memory: *mut c_void, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_SVM_MAP, event, |event| {
            status!(q, clEnqueueSVMMap(q, blocking, flags, memory, size, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueSVMUnmap(
        caller, queue: cl_command_queue, memory: *mut c_void, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_SVM_UNMAP, event, |event| {
            status!(q, clEnqueueSVMUnmap(q, memory, wait.count(), wait.pointer(), event))
        })
    }

    fn clEnqueueSVMMigrateMem(
        caller, queue: cl_command_queue, count: u32, pointers: *mut *const c_void, sizes: *const usize,
        flags: cl_mem_migration_flags, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let q = queue.real.get();
        event::issue(caller, queue, CL_COMMAND_SVM_MIGRATE_MEM, event, |event| {
            status!(q, clEnqueueSVMMigrateMem(
                q, count, pointers, sizes, flags, wait.count(), wait.pointer(), event
            ))
        })
    }

    /// The pointer may be any of the program's where the device shares the whole address space.
    fn clSetKernelArgSVMPointer(caller, kernel: cl_kernel, index: u32, value: *const c_void) -> status {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        status!(real, clSetKernelArgSVMPointer(real, index, value))?;
        movable::block(REASON);
        Ok(())
    }

    fn clSetKernelExecInfo(caller, kernel: cl_kernel, parameter: u32, size: usize, value: *const c_void) -> status {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        status!(real, clSetKernelExecInfo(real, parameter, size, value))?;
        movable::block(REASON);
        Ok(())
    }
}
