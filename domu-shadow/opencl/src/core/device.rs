//! Devices: root devices, which are never released, and parts of them.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_DEVICE_IL_VERSION, CL_DEVICE_NAME, CL_DEVICE_PLATFORM, CL_DEVICE_TYPE, CL_DEVICE_TYPE_CPU,
    CL_INVALID_DEVICE, CL_PLATFORM_NAME, cl_device_partition_property,
};

use super::driver_handle::DriverHandle;
use super::handle::{Slot, object};
use super::platform::Platform;
use crate::CLResult;
use crate::driver::dispatch::{released, status};
use crate::driver::query;

pub struct Device {
    pub(super) slot: Slot<Device>,
    pub platform: Arc<Platform>,
    pub real: DriverHandle,
    pub name: String,
    /// `CL_DEVICE_TYPE_*` bits.
    pub device_type: u64,
    /// Of a sub-device: the partition that made it, and which of its parts it is.
    pub(super) part: Option<(Arc<Partition>, usize)>,
}

/// One call of `clCreateSubDevices`.
pub struct Partition {
    pub(super) parent: Arc<Device>,
    /// As the program passed it, ending zero included.
    pub(super) list: Vec<cl_device_partition_property>,
    pub(super) count: u32,
}

object!(Device, CL_INVALID_DEVICE);

impl Device {
    /// The shadow of a driver's device.
    pub(super) fn of(
        platform: Arc<Platform>,
        real: *mut c_void,
        part: Option<(Arc<Partition>, usize)>,
    ) -> Device {
        Device {
            slot: Slot::reserve(),
            platform,
            real: DriverHandle::new(real),
            name: query::device_text(real, CL_DEVICE_NAME).unwrap_or_default(),
            device_type: query::device_number(real, CL_DEVICE_TYPE).unwrap_or_default(),
            part,
        }
    }

    /// The device that this one is a part of.
    pub fn parent(&self) -> Option<&Arc<Device>> {
        self.part.as_ref().map(|(partition, _)| &partition.parent)
    }

    /// Whether the driver is pocl. Asked anew: after a move to another vendor, the names kept here are still the first one's.
    pub fn is_pocls(&self) -> bool {
        self.number(CL_DEVICE_PLATFORM).is_ok_and(|platform| {
            let platform = std::ptr::with_exposed_provenance_mut(platform as usize);
            query::platform_text(platform, CL_PLATFORM_NAME)
                .is_ok_and(|name| name == "Portable Computing Language")
        })
    }

    /// Whether the driver runs commands on the thread that enqueues them, inside its call: pocl's device without threads.
    pub fn works_in_calls(&self) -> bool {
        self.is_pocls()
            && query::device_text(self.real.get(), CL_DEVICE_NAME)
                .is_ok_and(|name| name.starts_with("basic"))
    }

    /// Whether the driver's device is a processor, now.
    pub fn is_processor(&self) -> bool {
        let kind = self.number(CL_DEVICE_TYPE);
        kind.is_ok_and(|kind| kind & CL_DEVICE_TYPE_CPU != 0)
    }

    /// Whether programs may come in an intermediate language.
    pub fn takes_il(&self) -> bool {
        query::device_text(self.real.get(), CL_DEVICE_IL_VERSION)
            .is_ok_and(|versions| !versions.is_empty())
    }

    /// Releases the driver's sub-device; a root device is never released.
    pub fn release_driver(&self) {
        if self.part.is_some()
            && let Some(real) = self.real.take()
        {
            release(real);
        }
    }

    fn number(&self, parameter: u32) -> CLResult<u64> {
        query::device_number(self.real.get(), parameter)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.release_driver();
    }
}

/// The driver's handles of some devices.
pub fn driver_handles(devices: &[Arc<Device>]) -> Vec<*mut c_void> {
    devices.iter().map(|device| device.real.get()).collect()
}

/// Releases a driver's sub-device.
pub(super) fn release(real: *mut c_void) {
    released("a sub-device", status!(real, clReleaseDevice(real)));
}
