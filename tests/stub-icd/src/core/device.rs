//! The devices: one or several of the same make.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_DEVICE, cl_int};

use super::platform::Platform;
use crate::extensions::{ALWAYS, OPTIONAL};
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

    /// Names and versions.
    pub fn extensions() -> Vec<(&'static str, u32)> {
        let always = ALWAYS.map(|name| (name, opencl_sys::make_version(1, 0, 0)));
        let wanted = options::in_force();
        let optional = OPTIONAL
            .iter()
            .filter(|(name, _)| wanted.extensions.iter().any(|wanted| wanted == name));
        always.into_iter().chain(optional.copied()).collect()
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
