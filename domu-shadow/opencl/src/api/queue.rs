//! Command queues.

use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_DEVICE, CL_QUEUE_CONTEXT, CL_QUEUE_DEVICE, CL_QUEUE_DEVICE_DEFAULT,
    CL_QUEUE_PROPERTIES_ARRAY, CL_QUEUE_REFERENCE_COUNT, cl_command_queue, cl_command_queue_info,
    cl_command_queue_properties, cl_context, cl_device_id, cl_queue_properties,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::event_status;
use crate::core::queue::Creation;
use crate::core::{Context, Device, Object, Queue, handle};
use crate::driver::dispatch::{ask, status};
use crate::driver::query;

fn parents(context: cl_context, device: cl_device_id) -> CLResult<(Arc<Context>, Arc<Device>)> {
    let context = handle::share::<Context>(context)?;
    let device = handle::share::<Device>(device)?;
    if context.devices.iter().any(|one| Arc::ptr_eq(one, &device)) {
        Ok((context, device))
    } else {
        Err(CL_INVALID_DEVICE)
    }
}

entry! {
    fn clCreateCommandQueue(
        _caller,
        context: cl_context,
        device: cl_device_id,
        properties: cl_command_queue_properties,
    ) -> object {
        let (context, device) = parents(context, device)?;
        Ok(handle::publish(Queue::create(context, device, Creation::Bits, properties)?))
    }

    fn clCreateCommandQueueWithProperties(
        caller,
        context: cl_context,
        device: cl_device_id,
        properties: *const cl_queue_properties,
    ) -> object {
        let (context, device) = parents(context, device)?;
        let list = Creation::List(caller.properties(properties));
        Ok(handle::publish(Queue::create(context, device, list, 0)?))
    }

    fn clRetainCommandQueue(_caller, queue: cl_command_queue) -> status {
        handle::retain::<Queue>(queue)
    }

    /// "Performs an implicit flush": the driver's object may live on with the queue's events, so it is done here.
    #[drains]
    fn clReleaseCommandQueue(caller, queue: cl_command_queue) -> status {
        let shadow = handle::borrow::<Queue>(caller, queue)?;
        if !shadow.is_on_device() {
            let real = shadow.real.get();
            status!(real, clFlush(real))?;
        }
        handle::release::<Queue>(queue)
    }

    fn clGetCommandQueueInfo(caller, answer, queue: cl_command_queue, parameter: cl_command_queue_info) -> info {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let real = queue.real.get();
        match parameter {
            CL_QUEUE_CONTEXT => answer.handle(queue.context.slot().handle()),
            CL_QUEUE_DEVICE => answer.handle(queue.device.slot().handle()),
            CL_QUEUE_REFERENCE_COUNT => answer.uint(queue.slot().references()),
            CL_QUEUE_DEVICE_DEFAULT => {
                let default = query::number(ask!(real, clGetCommandQueueInfo(real, parameter)))?;
                let queues = handle::all::<Queue>();
                let default = queues.iter().find(|queue| queue.real.get() as u64 == default);
                answer.handle(default.map_or(std::ptr::null_mut(), |queue| queue.slot().handle()))
            }
            CL_QUEUE_PROPERTIES_ARRAY => match &queue.creation {
                Creation::List(Some(list)) => answer.longs(Some(list.iter().copied())),
                _ => answer.bytes(&[]),
            },
            _ => answer.driver(ask!(real, clGetCommandQueueInfo(real, parameter))),
        }
    }

    fn clSetCommandQueueProperty(
        caller,
        queue: cl_command_queue,
        properties: cl_command_queue_properties,
        enable: u32,
        old: *mut cl_command_queue_properties,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let real = queue.real.get();
        status!(real, clSetCommandQueueProperty(real, properties, enable, old))?;
        queue.set_bits(properties, enable != 0);
        Ok(())
    }

    fn clSetDefaultDeviceCommandQueue(
        caller,
        context: cl_context,
        device: cl_device_id,
        queue: cl_command_queue,
    ) -> status {
        let context = handle::borrow::<Context>(caller, context)?;
        // What NULL means is the driver's to say: most have no such queues at all.
        let device = (!device.is_null()).then(|| handle::borrow::<Device>(caller, device)).transpose()?;
        let queue = (!queue.is_null()).then(|| handle::share::<Queue>(queue)).transpose()?;
        let c = context.real.get();
        let d = device.map_or(std::ptr::null_mut(), |device| device.real.get());
        let q = queue.as_ref().map_or(std::ptr::null_mut(), |queue| queue.real.get());
        status!(c, clSetDefaultDeviceCommandQueue(c, d, q))?;
        if let (Some(device), Some(queue)) = (device, queue) {
            context.set_default_queue(device, queue.slot().id());
        }
        Ok(())
    }

    fn clFlush(caller, queue: cl_command_queue) -> status {
        let real = handle::borrow::<Queue>(caller, queue)?.real.get();
        status!(real, clFlush(real))
    }

    fn clFinish(_caller, queue: cl_command_queue) -> status {
        let queue = handle::share::<Queue>(queue)?;
        event_status::wait_for_queue(&queue);
        let real = queue.real.get();
        status!(real, clFinish(real))
    }
}
