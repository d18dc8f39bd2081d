//! Devices: root devices, which are never released, and parts of them.

use std::sync::Arc;

use opencl_sys::{CL_INVALID_DEVICE, cl_int};

use super::handle::{Kind, Object, Slot};
use super::partition::Partition;
use super::platform::Platform;
use super::real::Real;

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
