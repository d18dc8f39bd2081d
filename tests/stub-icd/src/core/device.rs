//! The devices: one or several of the same make.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_DEVICE, cl_int};

use super::platform::Platform;
use crate::driver;
use crate::handle::{self, Object, Slot};

/// Extensions that are there on request (`extension=`), with their versions.
pub const OPTIONAL: [(&str, u32); 8] = [
    (
        "cl_ext_buffer_device_address",
        opencl_sys::make_version(1, 0, 2),
    ),
    (
        "cl_intel_unified_shared_memory",
        opencl_sys::make_version(1, 1, 0),
    ),
    ("cl_khr_command_buffer", opencl_sys::make_version(0, 9, 8)),
    ("cl_khr_external_memory", opencl_sys::make_version(1, 0, 1)),
    (
        "cl_khr_external_memory_opaque_fd",
        opencl_sys::make_version(1, 0, 0),
    ),
    (
        "cl_khr_external_semaphore",
        opencl_sys::make_version(1, 0, 1),
    ),
    (
        "cl_khr_external_semaphore_opaque_fd",
        opencl_sys::make_version(1, 0, 0),
    ),
    ("cl_khr_semaphore", opencl_sys::make_version(1, 0, 0)),
];

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
    const EXTENSIONS: [&'static str; 4] = [
        "cl_khr_byte_addressable_store",
        "cl_khr_global_int32_base_atomics",
        "cl_khr_fp64",
        "cl_khr_suggested_local_work_size",
    ];
    pub const MAX_WORK_GROUP_SIZE: usize = 1024;
    pub const MAX_IMAGE_SIDE: usize = 16384;
    pub const LOCAL_MEMORY: u64 = 48 << 10;

    /// Names and versions.
    pub fn extensions() -> Vec<(&'static str, u32)> {
        let always = Device::EXTENSIONS.map(|name| (name, opencl_sys::make_version(1, 0, 0)));
        let wanted = driver::options();
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
