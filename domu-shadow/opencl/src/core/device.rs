//! Devices: root devices, which are never released, and parts of them.

use std::sync::Arc;

use opencl_sys::{
    CL_DEVICE_IL_VERSION, CL_DEVICE_PLATFORM, CL_DEVICE_TYPE, CL_DEVICE_TYPE_CPU,
    CL_INVALID_DEVICE, CL_PLATFORM_NAME, cl_int,
};

use super::driver_handle::DriverHandle;
use super::handle::{Kind, Object, Slot};
use super::partition::Partition;
use super::platform::Platform;
use crate::CLResult;
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

impl Object for Device {
    const KIND: Kind = Kind::Device;
    const INVALID: cl_int = CL_INVALID_DEVICE;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

impl Device {
    /// Whether the driver is pocl: asked now, because after a move to another vendor's, what is kept here is still the first one's.
    pub fn is_pocls(&self) -> bool {
        self.number(CL_DEVICE_PLATFORM).is_ok_and(|platform| {
            let platform = std::ptr::with_exposed_provenance_mut(platform as usize);
            query::platform_text(platform, CL_PLATFORM_NAME)
                .is_ok_and(|name| name == "Portable Computing Language")
        })
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

    fn number(&self, parameter: u32) -> CLResult<u64> {
        query::device_number(self.real.get(), parameter)
    }
}
