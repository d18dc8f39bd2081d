//! Contexts.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_INVALID_CONTEXT, CL_INVALID_DEVICE, cl_int};

use super::addresses::Addresses;
use super::device::Device;
use crate::callback::Destructors;
use crate::ffi::CLResult;
use crate::handle::{self, Object, Slot};
use crate::report::violation;

pub struct Context {
    pub slot: Slot,
    pub devices: Vec<Arc<Device>>,
    /// As passed, with the ending zero; empty if none were.
    pub properties: Vec<isize>,
    pub destructors: Destructors,
    pub addresses: Addresses,
}

impl Object for Context {
    const KIND: &'static str = "cl_context";
    const INVALID: cl_int = CL_INVALID_CONTEXT;
}

impl Context {
    pub fn create(devices: Vec<Arc<Device>>, properties: Vec<isize>) -> *mut c_void {
        let make = |slot| Context {
            slot,
            devices,
            properties,
            destructors: Destructors::default(),
            addresses: Addresses::default(),
        };
        handle::publish(1, make).slot.handle()
    }

    /// The device of a handle, if it belongs to this context.
    pub fn device(&self, device: *mut c_void) -> CLResult<Arc<Device>> {
        let device = handle::get::<Device>(device)?;
        self.devices
            .iter()
            .any(|own| Arc::ptr_eq(own, &device))
            .then_some(device)
            .ok_or(CL_INVALID_DEVICE)
    }

    /// The devices of a list, or all for an empty one.
    pub fn devices_of(&self, handles: &[*mut c_void]) -> CLResult<Vec<Arc<Device>>> {
        match handles {
            [] => Ok(self.devices.clone()),
            handles => handles.iter().map(|&device| self.device(device)).collect(),
        }
    }

    /// Refuses what belongs to another context, and records it.
    pub fn same(&self, other: &Context, what: &str) -> CLResult<()> {
        if self.slot.handle() == other.slot.handle() {
            return Ok(());
        }
        violation(format!("{what} belongs to another context"));
        Err(CL_INVALID_CONTEXT)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.destructors.call(self.slot.handle());
    }
}
