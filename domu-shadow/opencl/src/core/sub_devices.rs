//! Sub-devices. After a move the new parent device is partitioned in the same way.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_DEVICE_PARTITION_FAILED, cl_device_partition_property};

use super::device::{Device, Partition, release};
use super::handle;
use crate::CLResult;
use crate::driver::dispatch::status;

impl Partition {
    /// The driver's new sub-devices; the caller owns them.
    fn create_driver(&self) -> CLResult<Vec<*mut c_void>> {
        let device = self.parent.real.get();
        let mut reals = vec![std::ptr::null_mut(); self.count as usize];
        let (list, room) = (self.list.as_ptr(), reals.as_mut_ptr());
        let mut made = 0;
        status!(
            device,
            clCreateSubDevices(device, list, self.count, room, &raw mut made)
        )?;
        if made == self.count {
            return Ok(reals);
        }
        reals.truncate(made as usize);
        reals.into_iter().for_each(release);
        Err(CL_DEVICE_PARTITION_FAILED)
    }
}

/// Partitions a device.
///
/// # Errors
/// The driver's.
pub fn create(
    parent: Arc<Device>,
    list: Vec<cl_device_partition_property>,
    count: u32,
) -> CLResult<Vec<Arc<Device>>> {
    let partition = Arc::new(Partition {
        parent,
        list,
        count,
    });
    let reals = partition.create_driver()?;
    let of = |(index, real): (usize, *mut c_void)| {
        let platform = Arc::clone(&partition.parent.platform);
        let part = Some((Arc::clone(&partition), index));
        Arc::new(Device::of(platform, real, part))
    };
    Ok(reals.into_iter().enumerate().map(of).collect())
}

/// After a move, once all root devices are back: makes sub-devices again, a device's before those of its parts.
///
/// # Errors
/// The driver's.
pub fn recreate() -> CLResult<()> {
    let mut made: BTreeMap<usize, Vec<*mut c_void>> = BTreeMap::new();
    let mut answer = Ok(());
    for device in handle::all::<Device>() {
        let Some((partition, index)) = &device.part else {
            continue;
        };
        let reals = match made.entry(Arc::as_ptr(partition) as usize) {
            std::collections::btree_map::Entry::Occupied(reals) => reals.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => match partition.create_driver() {
                Ok(reals) => place.insert(reals),
                Err(code) => {
                    answer = Err(code);
                    break;
                }
            },
        };
        device
            .real
            .set(std::mem::replace(&mut reals[*index], std::ptr::null_mut()));
    }
    // Those that the program has released meanwhile.
    let left = made.into_values().flatten().filter(|real| !real.is_null());
    left.for_each(release);
    answer
}
