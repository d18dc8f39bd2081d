//! The devices: one or several of the same make.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_DEVICE, cl_int};

use super::platform::Platform;
use crate::extensions::{ALWAYS, Extension};
use crate::handle::{self, Object, Slot};
use crate::options;

pub struct Device {
    pub slot: Slot,
    pub platform: Arc<Platform>,
    pub name: String,
    pub vendor: String,
    /// `CL_DRIVER_VERSION`.
    pub driver: String,
}

impl Object for Device {
    const KIND: &'static str = "cl_device_id";
    const INVALID: cl_int = CL_INVALID_DEVICE;
}

impl Device {
    pub const MAX_WORK_GROUP_SIZE: usize = 1024;
    pub const MAX_IMAGE_SIDE: usize = 16384;
    pub const LOCAL_MEMORY: u64 = 48 << 10;

    pub fn extensions() -> Vec<Extension> {
        let optional = options::in_force().extensions.clone();
        ALWAYS.into_iter().chain(optional).collect()
    }

    pub fn new(
        platform: &Arc<Platform>,
        name: String,
        vendor: String,
        driver: String,
    ) -> Arc<Device> {
        let platform = platform.clone();
        handle::publish(1, |slot| Device {
            slot,
            platform,
            name,
            vendor,
            driver,
        })
    }
}
