//! Memory that another API shares (`cl_khr_external_memory`): its objects are made by `clCreateBufferWithProperties` and
//! `clCreateImageWithProperties`. While there is one, the process is not moved.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_ACQUIRE_EXTERNAL_MEM_OBJECTS_KHR, CL_COMMAND_RELEASE_EXTERNAL_MEM_OBJECTS_KHR,
    CL_INVALID_OPERATION, cl_command_queue, cl_event, cl_mem,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, Repeat, WaitList, issue_once};
use crate::core::{Mem, Queue, handle};
use crate::driver::dispatch::check;

/// The two commands, which differ in name and type.
macro_rules! external {
    ($($name:ident: $kind:ident;)*) => {
        entry! {$(
            fn $name(
                caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, wait_count: u32,
                wait: *const cl_event, event: *mut cl_event,
            ) -> status {
                let queue = handle::borrow::<Queue>(caller, queue)?;
                let mems = caller.list(objects, count as usize).iter();
                let mems = mems.map(|&object| handle::share::<Mem>(object));
                let mems = mems.collect::<CLResult<Vec<_>>>()?;
                let wait = WaitList::new(caller, wait_count, wait)?;
                let context = &queue.context;
                let function = context.functions.$name(context.first_device()).ok_or(CL_INVALID_OPERATION)?;
                let command = Command::new(queue, $kind, &wait, event);
                issue_once(caller, command, Repeat::MustRun, mems, move |place, reals| {
                    let list = if objects.is_null() { std::ptr::null() } else { reals.as_ptr() };
                    // SAFETY: the handles are the driver's own and live.
                    check(unsafe { function(place.queue, count, list, place.count, place.list, place.event) })
                })
            }
        )*}

        /// The extension's function of this name, null if it is none.
        pub fn function(name: &[u8]) -> *mut c_void {
            $(if name == stringify!($name).as_bytes() {
                return $name as *mut c_void;
            })*
            std::ptr::null_mut()
        }
    };
}

external! {
    clEnqueueAcquireExternalMemObjectsKHR: CL_COMMAND_ACQUIRE_EXTERNAL_MEM_OBJECTS_KHR;
    clEnqueueReleaseExternalMemObjectsKHR: CL_COMMAND_RELEASE_EXTERNAL_MEM_OBJECTS_KHR;
}
