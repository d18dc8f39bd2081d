//! Platforms: found once, and given other drivers' platforms after a move.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opencl_sys::{
    CL_DEVICE_NAME, CL_DEVICE_TYPE, CL_DEVICE_TYPE_ALL, CL_INVALID_PLATFORM, CL_PLATFORM_NAME,
    cl_int,
};

use super::device::Device;
use super::driver_handle::DriverHandle;
use super::handle::{self, Kind, Object, Slot};
use crate::driver::{loader, query};

pub struct Platform {
    slot: Slot<Platform>,
    pub real: DriverHandle,
    pub name: String,
    devices: Mutex<Vec<Arc<Device>>>,
}

impl Object for Platform {
    const KIND: Kind = Kind::Platform;
    const INVALID: cl_int = CL_INVALID_PLATFORM;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

static PLATFORMS: OnceLock<Vec<Arc<Platform>>> = OnceLock::new();

/// All platforms; the first call loads the drivers and starts the session.
pub fn all() -> &'static [Arc<Platform>] {
    PLATFORMS.get_or_init(|| {
        let platforms = loader::platforms()
            .into_iter()
            .map(Platform::found)
            .collect();
        runtime::session::start();
        platforms
    })
}

/// The platforms found so far; none if the program has not asked yet.
pub fn known() -> &'static [Arc<Platform>] {
    PLATFORMS.get().map_or(&[], Vec::as_slice)
}

impl Platform {
    fn found(real: *mut c_void) -> Arc<Platform> {
        let platform = Arc::new(Platform {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            name: query::platform_text(real, CL_PLATFORM_NAME).unwrap_or_default(),
            devices: Mutex::new(Vec::new()),
        });
        handle::publish(Arc::clone(&platform));
        for device in loader::devices(real, CL_DEVICE_TYPE_ALL) {
            platform.device_of(device);
        }
        platform
    }

    /// The shadow of one of this platform's root devices.
    pub fn device_of(self: &Arc<Self>, real: *mut c_void) -> Arc<Device> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = devices.iter().find(|device| device.real.get() == real) {
            return Arc::clone(device);
        }
        let device = Arc::new(Device {
            slot: Slot::reserve(),
            platform: Arc::clone(self),
            real: DriverHandle::new(real),
            name: query::device_text(real, CL_DEVICE_NAME).unwrap_or_default(),
            device_type: query::device_number(real, CL_DEVICE_TYPE).unwrap_or_default(),
            part: None,
        });
        handle::publish(Arc::clone(&device));
        devices.push(Arc::clone(&device));
        device
    }

    pub fn devices(&self) -> Vec<Arc<Device>> {
        self.devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
