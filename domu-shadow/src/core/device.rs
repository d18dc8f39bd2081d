//! Devices: root devices, which are never released, and parts of them.

use std::sync::Arc;

use opencl_sys::{
    CL_DEVICE_PLATFORM, CL_DEVICE_TYPE, CL_DEVICE_TYPE_CPU, CL_INVALID_DEVICE, CL_PLATFORM_NAME,
    cl_int,
};

use super::handle::{Kind, Object, Slot};
use super::partition::Partition;
use super::platform::Platform;
use super::real::Real;
use crate::driver::query;

pub struct Device {
    pub(super) slot: Slot<Device>,
    pub platform: Arc<Platform>,
    pub real: Real,
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
    /// Whether the driver's device is pocl's, a processor's: asked now, because after a move to another vendor's, name and
    /// type of this one are still the first one's.
    pub fn is_pocls_processor(&self) -> bool {
        let real = self.real.get();
        let number = |parameter| query::device_number(real, parameter);
        number(CL_DEVICE_TYPE).is_ok_and(|kind| kind & CL_DEVICE_TYPE_CPU != 0)
            && number(CL_DEVICE_PLATFORM).is_ok_and(|platform| {
                let platform = std::ptr::with_exposed_provenance_mut(platform as usize);
                query::platform_text(platform, CL_PLATFORM_NAME)
                    .is_ok_and(|name| name == "Portable Computing Language")
            })
    }
}
