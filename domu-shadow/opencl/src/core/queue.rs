//! Command queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opencl_sys::{
    CL_DEVICE_MAX_ON_DEVICE_QUEUES, CL_INVALID_COMMAND_QUEUE, CL_INVALID_QUEUE_PROPERTIES,
    CL_OUT_OF_RESOURCES, CL_QUEUE_ON_DEVICE, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
    CL_QUEUE_PROPERTIES, cl_event, cl_queue_properties,
};

use super::context::Context;
use super::device::Device;
use super::driver_handle::DriverHandle;
use super::handle::{Slot, object};
use super::in_flight::{self, InFlight};
use super::retired_queues;
use crate::CLResult;
use crate::driver::dispatch::{create, released, status, table_of};
use crate::driver::query;

/// How the program created the queue: made again the same way.
#[derive(Clone, Debug)]
pub enum Creation {
    /// `clCreateCommandQueue`.
    Bits,
    /// `clCreateCommandQueueWithProperties`, with the list as passed (ending zero included) or NULL.
    List(Option<Vec<cl_queue_properties>>),
}

pub struct Queue {
    slot: Slot<Queue>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    pub device: Arc<Device>,
    pub creation: Creation,
    bits: AtomicU64,
    pub in_flight: InFlight,
}

object!(Queue, CL_INVALID_COMMAND_QUEUE);

impl Queue {
    /// # Errors
    /// The driver's.
    pub fn create(
        context: Arc<Context>,
        device: Arc<Device>,
        creation: Creation,
        bits: u64,
    ) -> CLResult<Arc<Queue>> {
        let queue = Queue {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            context,
            device,
            creation,
            bits: AtomicU64::new(bits),
            in_flight: InFlight::default(),
        };
        if queue.is_on_device()
            && query::device_number(queue.device.real.get(), CL_DEVICE_MAX_ON_DEVICE_QUEUES)
                .unwrap_or(0)
                == 0
        {
            // "… are valid but are not supported by the device": some drivers take it and crash.
            return Err(CL_INVALID_QUEUE_PROPERTIES);
        }
        queue.recreate()?;
        Ok(Arc::new(queue))
    }

    /// Whether kernels enqueue to it, not the host. It is empty while no host command runs: "a parent kernel is
    /// considered to be complete if it itself and all its child kernels have completed".
    pub fn is_on_device(&self) -> bool {
        let Creation::List(Some(list)) = &self.creation else {
            return false;
        };
        list.chunks_exact(2).any(|pair| {
            pair[0] == u64::from(CL_QUEUE_PROPERTIES) && pair[1] & CL_QUEUE_ON_DEVICE != 0
        })
    }

    /// Whether its commands run in order.
    pub fn is_in_order(&self) -> bool {
        let bits = match &self.creation {
            Creation::Bits => self.bits.load(Ordering::Relaxed),
            Creation::List(list) => list
                .iter()
                .flat_map(|list| list.chunks_exact(2))
                .find(|pair| pair[0] == u64::from(CL_QUEUE_PROPERTIES))
                .map_or(0, |pair| pair[1]),
        };
        bits & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE == 0
    }

    /// Makes the driver's queue: at creation, and again after a move.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        let (context, device) = (self.context.real.get(), self.device.real.get());
        let real = match &self.creation {
            Creation::Bits => create!(
                context,
                clCreateCommandQueue(context, device, self.bits.load(Ordering::Relaxed))
            )?,
            Creation::List(list) => {
                let list = list.as_ref().map_or(std::ptr::null(), |list| list.as_ptr());
                create!(
                    context,
                    clCreateCommandQueueWithProperties(context, device, list)
                )?
            }
        };
        self.real.set(real);
        if self.context.default_queue(&self.device) == Some(self.slot.id()) {
            status!(
                context,
                clSetDefaultDeviceCommandQueue(context, device, real)
            )?;
        }
        Ok(())
    }

    /// Remembers `clSetCommandQueueProperty`, to make the queue again as it is.
    pub fn set_bits(&self, bits: u64, enable: bool) {
        let old = self.bits.load(Ordering::Relaxed);
        self.bits.store(
            if enable { old | bits } else { old & !bits },
            Ordering::Relaxed,
        );
    }

    /// The driver's event of a marker behind all commands so far, flushed.
    ///
    /// # Errors
    /// The driver's.
    pub fn mark(&self) -> CLResult<cl_event> {
        let real = self.real.get();
        let mut event = std::ptr::null_mut();
        let out = &raw mut event;
        if table_of(real).clEnqueueMarkerWithWaitList.is_some() {
            status!(
                real,
                clEnqueueMarkerWithWaitList(real, 0, std::ptr::null(), out)
            )?;
        } else {
            status!(real, clEnqueueMarker(real, out))?;
        }
        status!(real, clFlush(real))?;
        Ok(event)
    }

    /// While commands are listed: the events of all that may run, each retained; the queue is flushed.
    ///
    /// # Errors
    /// The driver's.
    pub fn commands_in_flight(&self) -> CLResult<Vec<cl_event>> {
        let real = self.real.get();
        status!(real, clFlush(real))?;
        self.in_flight.now().ok_or(CL_OUT_OF_RESOURCES)
    }

    /// Lists what was enqueued unlisted, by a marker behind it.
    #[cold]
    pub fn list_marker(&self) {
        match self.mark() {
            Ok(event) => self.in_flight.add(event),
            Err(code) => {
                log::warn!("a marker was refused: OpenCL error {code}");
                self.in_flight.lose();
            }
        }
    }

    /// Releases the driver's queue; made again by [`Queue::recreate`].
    pub fn release_driver(&self) {
        if let Some(real) = self.real.take() {
            released(
                "a command queue",
                status!(real, clReleaseCommandQueue(real)),
            );
        }
    }

    /// Hands over the commands in flight: releasing a queue does not wait for them. `false` if they are not all known.
    fn retire(&self) -> bool {
        let (mut events, is_all) = self.in_flight.take();
        let is_complete = in_flight::is_complete();
        let marked = is_complete || self.mark().map(|event| events.push(event)).is_ok();
        retired_queues::keep(events, &self.device);
        marked && (is_all || !is_complete)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let real = self.real.get();
        if !real.is_null() && !self.is_on_device() && !self.retire() {
            log::warn!("what runs in a queue being released is not known: it is waited for");
            if let Err(code) = status!(real, clFinish(real)) {
                log::warn!("a queue being released does not finish: error {code}");
            }
        }
        self.release_driver();
    }
}
