//! Command buffers (`cl_khr_command_buffer` 0.9.8), without commands on images and shared virtual memory.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::*;

use super::launch::range_of;
use crate::call::{creators, entry_points};
use crate::core::command::Order;
use crate::core::command_buffer::{CommandBuffer, Work};
use crate::core::enqueue::Enqueue;
use crate::core::kernel::Kernel;
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostIn, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;
use crate::kernels::run;

/// What every function that records a command takes, but for the command buffer itself.
struct At {
    queue: *mut c_void,
    properties: In<u64>,
    count: u32,
    waits: In<u32>,
    point: Out<u32>,
    handle: Out<*mut c_void>,
}

impl At {
    fn record(self, buffer: &CommandBuffer, work: Work) -> CLResult<()> {
        // Without cl_khr_command_buffer_multi_device and cl_khr_command_buffer_mutable_dispatch.
        if !self.queue.is_null()
            || !self.handle.is_null()
            || self.properties.until_zero(2).len() > 1
        {
            return Err(CL_INVALID_VALUE);
        }
        if (self.count == 0) != self.waits.is_null() {
            return Err(CL_INVALID_SYNC_POINT_WAIT_LIST_KHR);
        }
        let waits = self.waits.list(self.count as usize).unwrap_or_default();
        self.point.set(buffer.record(&waits, work)?);
        Ok(())
    }
}

creators! {
    fn clCreateCommandBufferKHR(count: u32, queues: In<*mut c_void>, properties: In<u64>) {
        let queues = queues.list(count as usize).ok_or(CL_INVALID_VALUE)?;
        let &[queue] = &queues[..] else {
            return Err(CL_INVALID_VALUE);
        };
        let queue = handle::get::<Queue>(queue)?;
        queue.of_host()?;
        Ok(CommandBuffer::create(queue, properties.until_zero(2)))
    }
}

entry_points! {
    fn clFinalizeCommandBufferKHR(buffer: *mut c_void) {
        handle::get::<CommandBuffer>(buffer)?.finalize()
    }

    fn clRetainCommandBufferKHR(buffer: *mut c_void) {
        handle::retain::<CommandBuffer>(buffer)
    }

    fn clReleaseCommandBufferKHR(buffer: *mut c_void) {
        handle::release::<CommandBuffer>(buffer)
    }

    fn clEnqueueCommandBufferKHR(
        count: u32, queues: Out<*mut c_void>, buffer: *mut c_void, num_events: u32, events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let buffer = handle::get::<CommandBuffer>(buffer)?;
        if (count == 0) != queues.is_null() || count > 1 {
            return Err(CL_INVALID_VALUE);
        }
        let queue = match queues.input().list(count as usize) {
            Some(queues) => handle::get::<Queue>(queues[0])?,
            None => buffer.queue.clone(),
        };
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let works = buffer.works()?;
        let all = move || works.iter().try_for_each(|work| work());
        enqueue.submit(&queue, CL_COMMAND_COMMAND_BUFFER_KHR, Order::Free, Box::new(all))
    }

    fn clGetCommandBufferInfoKHR(
        buffer: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>,
    ) {
        let buffer = handle::get::<CommandBuffer>(buffer)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_COMMAND_BUFFER_QUEUES_KHR => answer.value(buffer.queue.slot.handle()),
            CL_COMMAND_BUFFER_NUM_QUEUES_KHR => answer.value(1_u32),
            CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR => answer.value(buffer.slot.references()),
            CL_COMMAND_BUFFER_STATE_KHR => answer.value(u32::from(buffer.is_final())),
            CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR => answer.list(&buffer.properties),
            CL_COMMAND_BUFFER_CONTEXT_KHR => answer.value(buffer.queue.context.slot.handle()),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clCommandBarrierWithWaitListKHR(
        buffer: *mut c_void, queue: *mut c_void, properties: In<u64>, count: u32, waits: In<u32>, point: Out<u32>,
        handle: Out<*mut c_void>,
    ) {
        let at = At { queue, properties, count, waits, point, handle };
        at.record(&*handle::get::<CommandBuffer>(buffer)?, Arc::new(|| Ok(())))
    }

    fn clCommandCopyBufferKHR(
        buffer: *mut c_void, queue: *mut c_void, properties: In<u64>, source: *mut c_void, target: *mut c_void,
        source_offset: usize, target_offset: usize, size: usize, count: u32, waits: In<u32>, point: Out<u32>,
        handle: Out<*mut c_void>,
    ) {
        let at = At { queue, properties, count, waits, point, handle };
        let buffer = handle::get::<CommandBuffer>(buffer)?;
        let (source, target) = (handle::get::<Mem>(source)?, handle::get::<Mem>(target)?);
        let (from, to) = (source.place(source_offset, size)?, target.place(target_offset, size)?);
        at.record(&buffer, Arc::new(move || target.memory.copy_from(to, &source.memory, from, size)))
    }

    fn clCommandFillBufferKHR(
        buffer: *mut c_void, queue: *mut c_void, properties: In<u64>, target: *mut c_void, pattern: HostIn,
        pattern_size: usize, offset: usize, size: usize, count: u32, waits: In<u32>, point: Out<u32>,
        handle: Out<*mut c_void>,
    ) {
        let at = At { queue, properties, count, waits, point, handle };
        let buffer = handle::get::<CommandBuffer>(buffer)?;
        let target = handle::get::<Mem>(target)?;
        let to = target.place(offset, size)?;
        let pattern = pattern.bytes(pattern_size).ok_or(CL_INVALID_VALUE)?;
        at.record(&buffer, Arc::new(move || target.memory.fill(to, &pattern, size)))
    }

    fn clCommandNDRangeKernelKHR(
        buffer: *mut c_void, queue: *mut c_void, properties: In<u64>, kernel: *mut c_void, work_dim: u32,
        global_offset: In<usize>, global_size: In<usize>, local_size: In<usize>, count: u32, waits: In<u32>,
        point: Out<u32>, handle: Out<*mut c_void>,
    ) {
        let at = At { queue, properties, count, waits, point, handle };
        let buffer = handle::get::<CommandBuffer>(buffer)?;
        let kernel = handle::get::<Kernel>(kernel)?;
        buffer.queue.context.same(&kernel.program.context, "the kernel")?;
        let range = range_of(&kernel, work_dim, [global_offset, global_size, local_size])?;
        // "The command-buffer … should increment the reference count of … kernels".
        let arguments = kernel.arguments()?;
        at.record(&buffer, Arc::new(move || run::run(&kernel.signature, &arguments, range)))
    }
}
