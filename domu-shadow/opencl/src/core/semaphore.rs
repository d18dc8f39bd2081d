//! Semaphores (`cl_khr_semaphore`). They are never made again: a process that has any cannot be moved.

use std::sync::Arc;

use opencl_sys::CL_INVALID_SEMAPHORE_KHR;

use super::context::Context;
use super::handle::{Slot, object};
use crate::CLResult;
use runtime::blocked::Hold;

use super::driver_handle::DriverHandle;
use super::obstacles;
use crate::driver::dispatch::released;
use crate::driver::functions::{create_extended, extended};

pub struct Semaphore {
    slot: Slot<Semaphore>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    /// As the program passed them, ending zero included; empty where it passed NULL.
    pub properties: Vec<u64>,
    _hold: Hold,
}

object!(Semaphore, CL_INVALID_SEMAPHORE_KHR);

impl Semaphore {
    /// `real` are the properties with the driver's handles; `None` for NULL.
    ///
    /// # Errors
    /// The driver's.
    pub fn create(
        context: Arc<Context>,
        properties: Vec<u64>,
        real: Option<&[u64]>,
    ) -> CLResult<Arc<Semaphore>> {
        let hold = obstacles::SEMAPHORE.hold();
        let c = context.real.get();
        let list = real.map_or(std::ptr::null(), <[u64]>::as_ptr);
        let real = create_extended!(context, clCreateSemaphoreWithPropertiesKHR(c, list))?;
        Ok(Arc::new(Semaphore {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            context,
            properties,
            _hold: hold,
        }))
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        if let Some(real) = self.real.take() {
            released(
                "a semaphore",
                extended!(self.context, clReleaseSemaphoreKHR(real)),
            );
        }
    }
}
