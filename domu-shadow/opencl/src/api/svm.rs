//! Shared virtual memory. [`crate::core::svm`] says when it can be moved.

use std::ffi::c_void;
use std::sync::atomic::AtomicU8;

use opencl_sys::{
    CL_COMMAND_SVM_FREE, CL_COMMAND_SVM_MAP, CL_COMMAND_SVM_MEMCPY, CL_COMMAND_SVM_MEMFILL,
    CL_COMMAND_SVM_MIGRATE_MEM, CL_COMMAND_SVM_UNMAP, CL_INVALID_OPERATION, CL_INVALID_VALUE,
    CL_KERNEL_EXEC_INFO_DEVICE_PTRS_EXT, CL_KERNEL_EXEC_INFO_USM_PTRS_INTEL,
    CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, CL_MIGRATE_MEM_OBJECT_HOST, CL_OUT_OF_HOST_MEMORY,
    cl_bool, cl_command_queue, cl_context, cl_event, cl_kernel, cl_map_flags,
    cl_mem_migration_flags, cl_svm_mem_flags,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, Place, Repeat, WaitList, issue, issue_once};
use crate::core::kernel::INDIRECT_ACCESS;
use crate::core::svm::{Fill, REASON};
use crate::core::{Context, Kernel, Queue, handle, svm};
use crate::driver::dispatch::{status, table_of};
use runtime::blocked;

type Free = unsafe extern "C" fn(cl_command_queue, u32, *mut *mut c_void, *mut c_void);

/// `clEnqueueSVMFree`'s function, with the queue as the program knows it.
struct Freeing {
    /// `None`: "all pointers specified in `svm_pointers` … are freed".
    call: Option<Free>,
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
    if let Some(call) = freeing.call {
        // SAFETY: the program gave the function for these arguments.
        return unsafe { call(freeing.queue, count, pointers, freeing.user) };
    }
    for at in 0..count as usize {
        // SAFETY: the driver passes on the array of `count` pointers that the program gave.
        svm::free(unsafe { *pointers.add(at) } as usize);
    }
}

/// A command in its place that does nothing: what is ours is mapped, and on the device, at all times.
fn nothing(place: &Place) -> CLResult<()> {
    static FROM: AtomicU8 = AtomicU8::new(0);
    static TO: AtomicU8 = AtomicU8::new(0);
    let (q, to, from) = (place.queue, TO.as_ptr().cast(), FROM.as_ptr().cast());
    status!(
        q,
        clEnqueueSVMMemcpy(
            q,
            place.blocking,
            to,
            from,
            1,
            place.count,
            place.list,
            place.event
        )
    )
}

entry! {
    fn clSVMAlloc(caller, context: cl_context, flags: cl_svm_mem_flags, size: usize, alignment: u32) -> pointer {
        let context = handle::borrow::<Context>(caller, context)?;
        let real = context.real.get();
        let allocate = table_of(real).clSVMAlloc.ok_or(CL_INVALID_OPERATION)?;
        // SAFETY: the context is the driver's own and live; the other arguments are numbers.
        let memory = unsafe { allocate(real, flags, size, alignment) };
        if memory.is_null() {
            return Err(CL_OUT_OF_HOST_MEMORY);
        }
        if svm::is_ours(context) && alignment <= 4096 {
            // The driver has only been asked whether it would give some.
            if let Some(free) = table_of(real).clSVMFree {
                // SAFETY: the driver has just allocated it, and nobody else knows it.
                unsafe { free(real, memory) };
            }
            return Ok(svm::allocate(handle::shared(context), size)? as *mut c_void);
        }
        blocked::block(REASON);
        Ok(memory)
    }

    /// Also by a function that a driver calls, while the gate drains.
    #[drains]
    fn clSVMFree(caller, context: cl_context, memory: *mut c_void) -> nothing {
        let real = handle::borrow::<Context>(caller, context)?.real.get();
        if svm::free(memory as usize) {
            return Ok(());
        }
        let free = table_of(real).clSVMFree.ok_or(CL_INVALID_OPERATION)?;
        // SAFETY: the context is the driver's own and live; the memory is the program's to free.
        unsafe { free(real, memory) };
        Ok(())
    }

    fn clEnqueueSVMFree(
        caller, queue: cl_command_queue, count: u32, pointers: *mut *mut c_void, call: Option<Free>,
        user: *mut c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        // Kept alive: the function may run, and let the program release it, before the driver returns.
        let shadow = handle::share::<Queue>(queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let ours = call.is_some() || svm::is_ours(&shadow.context);
        let boxed = ours.then(|| Box::into_raw(Box::new(Freeing { call, user, queue })));
        let (function, user) = match boxed {
            Some(boxed) => (Some(freeing as Free), boxed.cast()),
            None => (None, user),
        };
        let command = Command::new(&shadow, CL_COMMAND_SVM_FREE, &wait, event);
        let answer = issue_once(caller, command, Repeat::CallsProgram, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMFree(q, count, pointers, function, user, place.count, place.list, place.event))
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
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::blocking(&queue, CL_COMMAND_SVM_MEMCPY, &wait, event);
        issue(caller, command, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMMemcpy(q, place.blocking, to, from, size, place.count, place.list, place.event))
        })
    }

    fn clEnqueueSVMMemFill(
        caller, queue: cl_command_queue, to: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_SVM_MEMFILL, &wait, event);
        if svm::is_unknown_to_driver(&queue.context, to as usize, size) {
            let fill = Fill::new(to as usize, size, caller.list(pattern.cast(), pattern_size))?;
            return issue(caller, command, (), move |place, ()| {
                let (q, args) = (place.queue, (&raw const fill).cast_mut().cast());
                status!(q, clEnqueueNativeKernel(
                    q, Some(Fill::run), args, size_of::<Fill>(), 0, std::ptr::null(), std::ptr::null_mut(),
                    place.count, place.list, place.event
                ))
            });
        }
        let pattern = caller.pattern(pattern, pattern_size);
        issue(caller, command, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMMemFill(
                q, to, pattern.pointer(), pattern_size, size, place.count, place.list, place.event
            ))
        })
    }

    fn clEnqueueSVMMap(
        caller, queue: cl_command_queue, blocking: cl_bool, flags: cl_map_flags, memory: *mut c_void, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::blocking(&queue, CL_COMMAND_SVM_MAP, &wait, event);
        if size > 0 && svm::is_unknown_to_driver(&queue.context, memory as usize, size) {
            return issue(caller, command, (), |place, ()| nothing(place));
        }
        issue(caller, command, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMMap(q, place.blocking, flags, memory, size, place.count, place.list, place.event))
        })
    }

    fn clEnqueueSVMUnmap(
        caller, queue: cl_command_queue, memory: *mut c_void, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_SVM_UNMAP, &wait, event);
        if svm::is_unknown_to_driver(&queue.context, memory as usize, 1) {
            return issue(caller, command, (), |place, ()| nothing(place));
        }
        issue(caller, command, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMUnmap(q, memory, place.count, place.list, place.event))
        })
    }

    fn clEnqueueSVMMigrateMem(
        caller, queue: cl_command_queue, count: u32, pointers: *mut *const c_void, sizes: *const usize,
        flags: cl_mem_migration_flags, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_SVM_MIGRATE_MEM, &wait, event);
        let mut all = caller.list(pointers.cast_const(), count as usize).iter();
        if count > 0 && !pointers.is_null() && all.all(|&at| svm::is_unknown_to_driver(&queue.context, at as usize, 1)) {
            if flags & !(CL_MIGRATE_MEM_OBJECT_HOST | CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED) != 0 {
                return Err(CL_INVALID_VALUE);
            }
            return issue(caller, command, (), |place, ()| nothing(place));
        }
        issue_once(caller, command, Repeat::CallsProgram, (), move |place, ()| {
            let q = place.queue;
            status!(q, clEnqueueSVMMigrateMem(q, count, pointers, sizes, flags, place.count, place.list, place.event))
        })
    }

    /// The pointer may be any of the program's where the device shares the whole address space.
    fn clSetKernelArgSVMPointer(caller, kernel: cl_kernel, index: u32, value: *const c_void) -> status {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let real = kernel.real.get();
        status!(real, clSetKernelArgSVMPointer(real, index, value))?;
        if let Some(arg) = kernel.args.get(index as usize) {
            arg.set_svm(value as usize);
        }
        if !svm::is_ours(&kernel.program.context) {
            blocked::block(REASON);
        }
        Ok(())
    }

    fn clSetKernelExecInfo(caller, kernel: cl_kernel, parameter: u32, size: usize, value: *const c_void) -> status {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let real = kernel.real.get();
        status!(real, clSetKernelExecInfo(real, parameter, size, value))?;
        // The memory itself keeps the process here, and pointers to it are of no use after a move.
        if [CL_KERNEL_EXEC_INFO_USM_PTRS_INTEL, CL_KERNEL_EXEC_INFO_DEVICE_PTRS_EXT].contains(&parameter) {
            return Ok(());
        }
        kernel.remember_exec_info(parameter, caller.list(value.cast::<u8>(), size).to_vec());
        if !INDIRECT_ACCESS.contains(&parameter) && !svm::is_ours(&kernel.program.context) {
            blocked::block(REASON);
        }
        Ok(())
    }
}
