//! Platforms.

use std::ffi::c_void;

use opencl_sys::{CL_INVALID_PLATFORM, CL_PLATFORM_NAME};

use super::driver_handle::DriverHandle;
use super::handle::{Slot, object};
use crate::driver::query;

pub struct Platform {
    slot: Slot<Platform>,
    pub real: DriverHandle,
    pub name: String,
}

object!(Platform, CL_INVALID_PLATFORM);

impl Platform {
    /// The shadow of a driver's platform.
    pub fn of(real: *mut c_void) -> Platform {
        Platform {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            name: query::platform_text(real, CL_PLATFORM_NAME).unwrap_or_default(),
        }
    }
}
