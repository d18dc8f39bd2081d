//! The one platform.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_PLATFORM, cl_int};

use crate::handle::{self, Object, Slot};

pub struct Platform {
    pub slot: Slot,
    /// OpenCL version, (major, minor).
    pub spec: (u32, u32),
}

impl Object for Platform {
    const KIND: &'static str = "cl_platform_id";
    const INVALID: cl_int = CL_INVALID_PLATFORM;
}

impl Platform {
    pub const NAME: &'static str = "xl-gpu stub";
    pub const VENDOR: &'static str = "xl-gpu";
    pub const EXTENSIONS: [&'static str; 2] = ["cl_khr_icd", "cl_khr_suggested_local_work_size"];

    pub fn new(spec: (u32, u32)) -> Arc<Platform> {
        handle::publish(1, |slot| Platform { slot, spec })
    }

    /// `CL_PLATFORM_VERSION`.
    pub fn version(&self) -> String {
        format!("OpenCL {}.{} xl-gpu stub", self.spec.0, self.spec.1)
    }

    pub fn numeric_version(&self) -> u32 {
        opencl_sys::make_version(self.spec.0, self.spec.1, 0)
    }
}
