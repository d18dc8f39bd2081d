//! Command queues.

use std::ffi::c_void;

use opencl_sys::{
    CL_INVALID_OPERATION, CL_INVALID_QUEUE_PROPERTIES, CL_INVALID_VALUE, CL_QUEUE_CONTEXT,
    CL_QUEUE_DEVICE, CL_QUEUE_DEVICE_DEFAULT, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
    CL_QUEUE_PROFILING_ENABLE, CL_QUEUE_PROPERTIES, CL_QUEUE_PROPERTIES_ARRAY,
    CL_QUEUE_REFERENCE_COUNT, CL_QUEUE_SIZE,
};

use crate::core::context::Context;
use crate::core::queue::Queue;
use crate::driver;
use crate::ffi::{CLResult, HostOut, In, Out, creators, entry_points};
use crate::handle;
use crate::info::Answer;

fn create(
    context: *mut c_void,
    device: *mut c_void,
    properties: u64,
    list: Vec<u64>,
) -> CLResult<*mut c_void> {
    let context = handle::get::<Context>(context)?;
    let device = context.device(device)?;
    let known = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE;
    if properties & !(known | 0b1100) != 0 {
        return Err(CL_INVALID_VALUE);
    }
    if properties & !known != 0 {
        // On-device queues.
        return Err(CL_INVALID_QUEUE_PROPERTIES);
    }
    Queue::create(context, device, properties, list)
}

creators! {
    fn clCreateCommandQueue(context: *mut c_void, device: *mut c_void, properties: u64) {
        create(context, device, properties, Vec::new())
    }

    fn clCreateCommandQueueWithProperties(context: *mut c_void, device: *mut c_void, properties: In<u64>) {
        let list = properties.until_zero(2);
        let mut flags = 0;
        for pair in list.chunks_exact(2) {
            match u32::try_from(pair[0]) {
                Ok(CL_QUEUE_PROPERTIES) => flags = pair[1],
                Ok(CL_QUEUE_SIZE) => return Err(CL_INVALID_QUEUE_PROPERTIES),
                _ => return Err(CL_INVALID_VALUE),
            }
        }
        create(context, device, flags, list)
    }
}

entry_points! {
    fn clRetainCommandQueue(queue: *mut c_void) {
        handle::retain::<Queue>(queue)
    }

    // "clReleaseCommandQueue performs an implicit flush to issue any previously queued OpenCL commands."
    fn clReleaseCommandQueue(queue: *mut c_void) {
        handle::get::<Queue>(queue)?.flush();
        handle::release::<Queue>(queue)
    }

    fn clGetCommandQueueInfo(queue: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let queue = handle::get::<Queue>(queue)?;
        let answer = Answer::new(size, value, size_ret);
        let spec = queue.device.platform.spec;
        match name {
            CL_QUEUE_CONTEXT => answer.value(queue.context.slot.handle()),
            CL_QUEUE_DEVICE => answer.value(queue.device.slot.handle()),
            CL_QUEUE_REFERENCE_COUNT => answer.value(queue.slot.references()),
            CL_QUEUE_PROPERTIES => answer.value(queue.properties),
            CL_QUEUE_DEVICE_DEFAULT if spec >= (2, 1) => answer.value(std::ptr::null_mut::<c_void>()),
            CL_QUEUE_PROPERTIES_ARRAY if spec >= (3, 0) => answer.list(&queue.property_list),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    // Since OpenCL 1.1 "the clSetCommandQueueProperty is deprecated" and may refuse.
    fn clSetCommandQueueProperty(queue: *mut c_void, properties: u64, enable: u32, old: Out<u64>) {
        let queue = handle::get::<Queue>(queue)?;
        let _ = (properties, enable);
        old.set(queue.properties);
        Err(CL_INVALID_OPERATION)
    }

    fn clFlush(queue: *mut c_void) {
        handle::get::<Queue>(queue)?.flush();
        Ok(())
    }

    fn clFinish(queue: *mut c_void) {
        handle::get::<Queue>(queue)?.finish();
        driver::check_node();
        Ok(())
    }
}
