//! What OpenCL 3.0 lets a device leave out, and this one does: SVM and pipes.

use std::ffi::c_void;

use opencl_sys::{CL_INVALID_OPERATION, cl_event};

use crate::call::{creators, entry_points};
use crate::core::context::Context;
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostIn, HostOut, In, Out};
use crate::handle;

type FreeNotify = Option<unsafe extern "C" fn(*mut c_void, u32, *mut *mut c_void, *mut c_void)>;

fn refuse<T: handle::Object, R>(object: *mut c_void) -> CLResult<R> {
    handle::get::<T>(object)?;
    Err(CL_INVALID_OPERATION)
}

/// # Safety
/// None: it always answers null, as it must "if the device does not support SVM".
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clSVMAlloc(
    context: *mut c_void,
    flags: u64,
    size: usize,
    alignment: u32,
) -> *mut c_void {
    let _ = (context, flags, size, alignment);
    std::ptr::null_mut()
}

/// # Safety
/// None: there is nothing that it could free.
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clSVMFree(context: *mut c_void, pointer: *mut c_void) {
    let _ = (context, pointer);
}

creators! {
    fn clCreatePipe(context: *mut c_void, flags: u64, packet: u32, packets: u32, properties: In<isize>) {
        let _ = (flags, packet, packets, properties);
        refuse::<Context, _>(context)
    }
}

entry_points! {
    fn clGetPipeInfo(pipe: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let _ = (name, size, value, size_ret);
        handle::get::<Mem>(pipe)?;
        Err(opencl_sys::CL_INVALID_MEM_OBJECT)
    }

    fn clEnqueueSVMFree(
        queue: *mut c_void,
        count: u32,
        pointers: Out<*mut c_void>,
        function: FreeNotify,
        user_data: *mut c_void,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (count, pointers, function, user_data, num_events, events, event);
        refuse::<Queue, _>(queue)
    }

    fn clEnqueueSVMMemcpy(
        queue: *mut c_void,
        blocking: u32,
        target: HostOut,
        source: HostIn,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (blocking, target, source, size, num_events, events, event);
        refuse::<Queue, _>(queue)
    }

    fn clEnqueueSVMMemFill(
        queue: *mut c_void,
        pointer: HostOut,
        pattern: HostIn,
        pattern_size: usize,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (pointer, pattern, pattern_size, size, num_events, events, event);
        refuse::<Queue, _>(queue)
    }

    fn clEnqueueSVMMap(
        queue: *mut c_void,
        blocking: u32,
        flags: u64,
        pointer: HostOut,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (blocking, flags, pointer, size, num_events, events, event);
        refuse::<Queue, _>(queue)
    }

    fn clEnqueueSVMUnmap(
        queue: *mut c_void,
        pointer: HostOut,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (pointer, num_events, events, event);
        refuse::<Queue, _>(queue)
    }

    fn clEnqueueSVMMigrateMem(
        queue: *mut c_void,
        count: u32,
        pointers: Out<*const c_void>,
        sizes: In<usize>,
        flags: u64,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (count, pointers, sizes, flags, num_events, events, event);
        refuse::<Queue, _>(queue)
    }
}
