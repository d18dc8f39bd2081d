//! The devices: one or several of the same make.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_DEVICE, cl_int};

use super::platform::Platform;
use crate::handle::{self, Object, Slot};

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
    pub const EXTENSIONS: [&'static str; 4] = [
        "cl_khr_byte_addressable_store",
        "cl_khr_global_int32_base_atomics",
        "cl_khr_fp64",
        "cl_khr_suggested_local_work_size",
    ];
    pub const MAX_WORK_GROUP_SIZE: usize = 1024;
    pub const MAX_IMAGE_SIDE: usize = 16384;
    pub const LOCAL_MEMORY: u64 = 48 << 10;

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
