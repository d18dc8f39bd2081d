//! Command buffers (`cl_khr_command_buffer`).
//!
//! Up to version 0.9.4 of the extension the functions that record a command take no properties, but for the one that records a
//! kernel; a program gets those that its driver's version has.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMMAND_BUFFER_CONTEXT_KHR, CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR,
    CL_COMMAND_BUFFER_QUEUES_KHR, CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR,
    CL_COMMAND_COMMAND_BUFFER_KHR, CL_INVALID_CONTEXT, CL_INVALID_SYNC_POINT_WAIT_LIST_KHR,
    CL_INVALID_VALUE, cl_command_buffer_khr, cl_command_queue, cl_event, cl_kernel, cl_mem,
    cl_mutable_command_khr,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, Repeat, WaitList, issue_once};
use crate::core::recorded_command::{Objects, Options};
use crate::core::{Caller, CommandBuffer, Kernel, Mem, Object, Queue, handle, svm};
use crate::driver::functions::extended;
use crate::driver::query;
use crate::driver::record::{self, Prototypes, Spot};

/// What every function that records a command takes.
struct At {
    buffer: cl_command_buffer_khr,
    queue: cl_command_queue,
    properties: *const u64,
    count: u32,
    waits: *const u32,
    point: *mut u32,
    handle: *mut cl_mutable_command_khr,
}

impl At {
    fn record(
        &self,
        caller: &Caller,
        objects: Objects,
        give: impl Fn(&Spot<'_>, &[*mut c_void]) -> CLResult<()> + 'static,
    ) -> CLResult<()> {
        self.record_with(caller, objects, None, give)
    }

    fn record_with(
        &self,
        caller: &Caller,
        objects: Objects,
        kernel: Option<*mut c_void>,
        give: impl Fn(&Spot<'_>, &[*mut c_void]) -> CLResult<()> + 'static,
    ) -> CLResult<()> {
        let buffer = handle::borrow::<CommandBuffer>(caller, self.buffer)?;
        let queue = (!self.queue.is_null()).then(|| handle::share::<Queue>(self.queue));
        if (self.count == 0) != self.waits.is_null() {
            return Err(CL_INVALID_SYNC_POINT_WAIT_LIST_KHR);
        }
        // "`CL_INVALID_VALUE` if mutable_handle is not NULL": changing recorded commands is not offered.
        if !self.handle.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let options = Options {
            queue: queue.transpose()?,
            properties: caller.properties(self.properties),
            waits: caller.list(self.waits, self.count as usize).to_vec(),
            wants_point: !self.point.is_null(),
        };
        if let Some(point) = buffer.record(options, objects, kernel, give)? {
            caller.give(self.point, point);
        }
        Ok(())
    }
}

/// Functions that record a command, each in both of its forms.
macro_rules! recording {
    ($(fn $name:ident, $early:ident($caller:ident, $at:ident $(, $argument:ident: $type:ty)* $(,)?) $body:block)*) => {
        entry! {$(
            fn $name(
                $caller, buffer: cl_command_buffer_khr, queue: cl_command_queue, properties: *const u64,
                $($argument: $type,)*
                count: u32, waits: *const u32, point: *mut u32, handle: *mut cl_mutable_command_khr,
            ) -> status {
                let $at = At { buffer, queue, properties, count, waits, point, handle };
                $body
            }

            fn $early(
                $caller, buffer: cl_command_buffer_khr, queue: cl_command_queue, $($argument: $type,)*
                count: u32, waits: *const u32, point: *mut u32, handle: *mut cl_mutable_command_khr,
            ) -> status {
                let properties = std::ptr::null();
                let $at = At { buffer, queue, properties, count, waits, point, handle };
                $body
            }
        )*}

        /// The function of this name, in the form of the driver's version.
        fn recording_function(name: &[u8], prototypes: impl FnOnce() -> Prototypes) -> *mut c_void {
            $(if name == stringify!($name).as_bytes() {
                return match prototypes() {
                    Prototypes::WithProperties => $name as *mut c_void,
                    Prototypes::Early => $early as *mut c_void,
                };
            })*
            std::ptr::null_mut()
        }
    };
}

fn two(from: cl_mem, to: cl_mem) -> CLResult<Objects> {
    Ok(Objects::copied(
        handle::share::<Mem>(from)?,
        handle::share::<Mem>(to)?,
    ))
}

recording! {
    fn clCommandBarrierWithWaitListKHR, early_barrier(caller, at) {
        at.record(caller, Objects::default(), |spot, _| record::clCommandBarrierWithWaitListKHR(spot))
    }

    fn clCommandCopyBufferKHR, early_copy_buffer(
        caller, at, from: cl_mem, to: cl_mem, from_offset: usize, to_offset: usize, size: usize,
    ) {
        at.record(caller, two(from, to)?, move |spot, mems| {
            record::clCommandCopyBufferKHR(spot, mems[0], mems[1], from_offset, to_offset, size)
        })
    }

    fn clCommandCopyBufferRectKHR, early_copy_buffer_rect(
        caller, at, from: cl_mem, to: cl_mem, from_origin: *const usize, to_origin: *const usize, region: *const usize,
        from_row: usize, from_slice: usize, to_row: usize, to_slice: usize,
    ) {
        let (from_origin, to_origin) = (caller.sizes(from_origin, 3), caller.sizes(to_origin, 3));
        let region = caller.sizes(region, 3);
        at.record(caller, two(from, to)?, move |spot, mems| {
            record::clCommandCopyBufferRectKHR(
                spot, mems[0], mems[1], from_origin.pointer(), to_origin.pointer(), region.pointer(), from_row,
                from_slice, to_row, to_slice,
            )
        })
    }

    fn clCommandCopyBufferToImageKHR, early_copy_buffer_to_image(
        caller, at, from: cl_mem, to: cl_mem, offset: usize, origin: *const usize, region: *const usize,
    ) {
        let (origin, region) = (caller.sizes(origin, 3), caller.sizes(region, 3));
        at.record(caller, two(from, to)?, move |spot, mems| {
            record::clCommandCopyBufferToImageKHR(
                spot, mems[0], mems[1], offset, origin.pointer(), region.pointer(),
            )
        })
    }

    fn clCommandCopyImageKHR, early_copy_image(
        caller, at, from: cl_mem, to: cl_mem, from_origin: *const usize, to_origin: *const usize, region: *const usize,
    ) {
        let (from_origin, to_origin) = (caller.sizes(from_origin, 3), caller.sizes(to_origin, 3));
        let region = caller.sizes(region, 3);
        at.record(caller, two(from, to)?, move |spot, mems| {
            record::clCommandCopyImageKHR(
                spot, mems[0], mems[1], from_origin.pointer(), to_origin.pointer(), region.pointer(),
            )
        })
    }

    fn clCommandCopyImageToBufferKHR, early_copy_image_to_buffer(
        caller, at, from: cl_mem, to: cl_mem, origin: *const usize, region: *const usize, offset: usize,
    ) {
        let (origin, region) = (caller.sizes(origin, 3), caller.sizes(region, 3));
        at.record(caller, two(from, to)?, move |spot, mems| {
            record::clCommandCopyImageToBufferKHR(
                spot, mems[0], mems[1], origin.pointer(), region.pointer(), offset,
            )
        })
    }

    fn clCommandFillBufferKHR, early_fill_buffer(
        caller, at, to: cl_mem, pattern: *const c_void, pattern_size: usize, offset: usize, size: usize,
    ) {
        let pattern = caller.pattern(pattern, pattern_size);
        at.record(caller, Objects::filled(handle::share::<Mem>(to)?), move |spot, mems| {
            record::clCommandFillBufferKHR(spot, mems[0], pattern.pointer(), pattern_size, offset, size)
        })
    }

    fn clCommandFillImageKHR, early_fill_image(
        caller, at, to: cl_mem, color: *const c_void, origin: *const usize, region: *const usize,
    ) {
        let color = caller.pattern(color, 16);
        let (origin, region) = (caller.sizes(origin, 3), caller.sizes(region, 3));
        at.record(caller, Objects::filled(handle::share::<Mem>(to)?), move |spot, mems| {
            record::clCommandFillImageKHR(spot, mems[0], color.pointer(), origin.pointer(), region.pointer())
        })
    }

    fn clCommandSVMMemcpyKHR, early_svm_copy(caller, at, to: *mut c_void, from: *const c_void, size: usize) {
        at.record(caller, Objects::default(), move |spot, _| record::clCommandSVMMemcpyKHR(spot, to, from, size))
    }

    fn clCommandSVMMemFillKHR, early_svm_fill(
        caller, at, to: *mut c_void, pattern: *const c_void, pattern_size: usize, size: usize,
    ) {
        let buffer = handle::borrow::<CommandBuffer>(caller, at.buffer)?;
        if svm::is_unknown_to_driver(buffer.context(), to as usize, size) {
            // The driver fills only what it has allocated; it copies whatever it can read.
            let fill = svm::Fill::new(to as usize, size, caller.list(pattern.cast(), pattern_size))?;
            let from = fill.content();
            return at.record(caller, Objects::default(), move |spot, _| {
                record::clCommandSVMMemcpyKHR(spot, to, from.as_ptr().cast(), size)
            });
        }
        let pattern = caller.pattern(pattern, pattern_size);
        at.record(caller, Objects::default(), move |spot, _| {
            record::clCommandSVMMemFillKHR(spot, to, pattern.pointer(), pattern_size, size)
        })
    }
}

entry! {
    fn clCommandNDRangeKernelKHR(
        caller, buffer: cl_command_buffer_khr, queue: cl_command_queue, properties: *const u64, kernel: cl_kernel,
        dimensions: u32, offset: *const usize, global: *const usize, local: *const usize, count: u32,
        waits: *const u32, point: *mut u32, handle: *mut cl_mutable_command_khr,
    ) -> status {
        let at = At { buffer, queue, properties, count, waits, point, handle };
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let sizes = dimensions as usize;
        let (offset, global) = (caller.sizes(offset, sizes), caller.sizes(global, sizes));
        let local = caller.sizes(local, sizes);
        at.record_with(caller, Objects::run(kernel), Some(kernel.real.get()), move |spot, kernels| {
            record::clCommandNDRangeKernelKHR(
                spot, kernels[0], dimensions, offset.pointer(), global.pointer(), local.pointer(),
            )
        })
    }

    /// One queue: `cl_khr_command_buffer_multi_device` is not offered.
    fn clCreateCommandBufferKHR(
        caller, count: u32, queues: *const cl_command_queue, properties: *const u64,
    ) -> object {
        let &[queue] = caller.list(queues, count as usize) else {
            return Err(CL_INVALID_VALUE);
        };
        let queue = handle::share::<Queue>(queue)?;
        Ok(handle::publish(CommandBuffer::create(queue, caller.properties(properties))?))
    }

    fn clFinalizeCommandBufferKHR(caller, buffer: cl_command_buffer_khr) -> status {
        handle::borrow::<CommandBuffer>(caller, buffer)?.finalize()
    }

    fn clRetainCommandBufferKHR(_caller, buffer: cl_command_buffer_khr) -> status {
        handle::retain::<CommandBuffer>(buffer)
    }

    #[drains]
    fn clReleaseCommandBufferKHR(_caller, buffer: cl_command_buffer_khr) -> status {
        handle::release::<CommandBuffer>(buffer)
    }

    fn clEnqueueCommandBufferKHR(
        caller, count: u32, queues: *mut cl_command_queue, buffer: cl_command_buffer_khr, wait_count: u32,
        wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let buffer = handle::borrow::<CommandBuffer>(caller, buffer)?;
        if (count == 0) != queues.is_null() || count > 1 {
            return Err(CL_INVALID_VALUE);
        }
        let queue = match caller.list(queues, count as usize).first() {
            Some(&queue) => handle::borrow::<Queue>(caller, queue)?,
            None => &buffer.queue,
        };
        if !Arc::ptr_eq(&queue.context, buffer.context()) {
            return Err(CL_INVALID_CONTEXT);
        }
        let wait = WaitList::new(caller, wait_count, wait)?;
        buffer.ensure_resident();
        let command = Command::new(queue, CL_COMMAND_COMMAND_BUFFER_KHR, &wait, event);
        issue_once(caller, command, Repeat::MustRun, buffer, move |place, buffer| buffer.enqueue(place, count == 1))?;
        buffer.mark();
        Ok(())
    }

    fn clGetCommandBufferInfoKHR(caller, answer, buffer: cl_command_buffer_khr, parameter: u32) -> info {
        let buffer = handle::borrow::<CommandBuffer>(caller, buffer)?;
        let real = buffer.real.get();
        let ask = |size, value, size_ret| {
            extended!(buffer.context(), clGetCommandBufferInfoKHR(real, parameter, size, value, size_ret))
        };
        match parameter {
            CL_COMMAND_BUFFER_QUEUES_KHR => answer.handle(buffer.queue.slot().handle()),
            CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR => answer.uint(buffer.slot().references()),
            CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR => {
                answer.longs(buffer.properties.as_ref().map(|list| list.iter().copied()))
            }
            CL_COMMAND_BUFFER_CONTEXT_KHR => {
                // Not before version 0.9.2.
                query::bytes(&ask)?;
                answer.handle(buffer.context().slot().handle())
            }
            _ => answer.driver(&ask),
        }
    }
}

/// The extension's function of this name, null if it is none.
pub fn function(name: &[u8], prototypes: impl FnOnce() -> Prototypes) -> *mut c_void {
    match name {
        b"clCreateCommandBufferKHR" => clCreateCommandBufferKHR as *mut c_void,
        b"clFinalizeCommandBufferKHR" => clFinalizeCommandBufferKHR as *mut c_void,
        b"clRetainCommandBufferKHR" => clRetainCommandBufferKHR as *mut c_void,
        b"clReleaseCommandBufferKHR" => clReleaseCommandBufferKHR as *mut c_void,
        b"clEnqueueCommandBufferKHR" => clEnqueueCommandBufferKHR as *mut c_void,
        b"clGetCommandBufferInfoKHR" => clGetCommandBufferInfoKHR as *mut c_void,
        b"clCommandNDRangeKernelKHR" => clCommandNDRangeKernelKHR as *mut c_void,
        _ => recording_function(name, prototypes),
    }
}
