//! Command queues.

use std::ffi::c_void;

use opencl_sys::{
    CL_INVALID_COMMAND_QUEUE, CL_INVALID_OPERATION, CL_INVALID_QUEUE_PROPERTIES, CL_INVALID_VALUE,
    CL_QUEUE_CONTEXT, CL_QUEUE_DEVICE, CL_QUEUE_DEVICE_DEFAULT, CL_QUEUE_ON_DEVICE,
    CL_QUEUE_ON_DEVICE_DEFAULT, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CL_QUEUE_PROFILING_ENABLE,
    CL_QUEUE_PROPERTIES, CL_QUEUE_PROPERTIES_ARRAY, CL_QUEUE_REFERENCE_COUNT, CL_QUEUE_SIZE,
};

use crate::call::{creators, entry_points};
use crate::core::context::Context;
use crate::core::queue::Queue;
use crate::driver;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;

/// Bytes of an on-device queue that the program gave no size.
const DEVICE_QUEUE_SIZE: u32 = 16 << 10;

fn create(
    context: *mut c_void,
    device: *mut c_void,
    properties: u64,
    list: Vec<u64>,
    size: Option<u32>,
) -> CLResult<*mut c_void> {
    let context = handle::get::<Context>(context)?;
    let device = context.device(device)?;
    let known = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE;
    let on_device = properties & CL_QUEUE_ON_DEVICE != 0;
    if properties & !(known | CL_QUEUE_ON_DEVICE | CL_QUEUE_ON_DEVICE_DEFAULT) != 0
        || (size.is_some() && !on_device)
        || (on_device && properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE == 0)
    {
        return Err(CL_INVALID_VALUE);
    }
    if !on_device {
        return Queue::create(context, device, properties, list, None);
    }
    if properties & CL_QUEUE_ON_DEVICE_DEFAULT != 0
        && let Some(default) = Queue::default_of(&context, &device)
    {
        // "… only one default … the reference count of the existing default is incremented": the same queue.
        handle::retain::<Queue>(default.slot.handle())?;
        return Ok(default.slot.handle());
    }
    let size = size.unwrap_or(DEVICE_QUEUE_SIZE);
    let queue = Queue::create(context.clone(), device, properties, list, Some(size))?;
    if properties & CL_QUEUE_ON_DEVICE_DEFAULT != 0 {
        handle::get::<Queue>(queue)?.make_default();
    }
    Ok(queue)
}

creators! {
    fn clCreateCommandQueue(context: *mut c_void, device: *mut c_void, properties: u64) {
        if properties & CL_QUEUE_ON_DEVICE != 0 {
            return Err(CL_INVALID_QUEUE_PROPERTIES);
        }
        create(context, device, properties, Vec::new(), None)
    }

    fn clCreateCommandQueueWithProperties(context: *mut c_void, device: *mut c_void, properties: In<u64>) {
        let list = properties.until_zero(2);
        let (mut flags, mut size) = (0, None);
        for pair in list.chunks_exact(2) {
            match u32::try_from(pair[0]) {
                Ok(CL_QUEUE_PROPERTIES) => flags = pair[1],
                Ok(CL_QUEUE_SIZE) => size = u32::try_from(pair[1]).ok(),
                _ => return Err(CL_INVALID_VALUE),
            }
        }
        create(context, device, flags, list, size)
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
            CL_QUEUE_SIZE if spec >= (2, 0) => answer.value(queue.device_size.ok_or(CL_INVALID_COMMAND_QUEUE)?),
            CL_QUEUE_DEVICE_DEFAULT if spec >= (2, 1) => {
                let default = Queue::default_of(&queue.context, &queue.device);
                answer.value(default.map_or(std::ptr::null_mut::<c_void>(), |default| default.slot.handle()))
            }
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
        let queue = handle::get::<Queue>(queue)?;
        queue.of_host()?;
        queue.flush();
        Ok(())
    }

    fn clSetDefaultDeviceCommandQueue(context: *mut c_void, device: *mut c_void, queue: *mut c_void) {
        let context = handle::get::<Context>(context)?;
        let device = context.device(device)?;
        let queue = handle::get::<Queue>(queue)?;
        if queue.device_size.is_none() || !queue.serves(&context, &device) {
            return Err(CL_INVALID_COMMAND_QUEUE);
        }
        queue.make_default();
        Ok(())
    }

    fn clFinish(queue: *mut c_void) {
        let queue = handle::get::<Queue>(queue)?;
        queue.of_host()?;
        queue.finish();
        driver::check_node();
        Ok(())
    }
}
