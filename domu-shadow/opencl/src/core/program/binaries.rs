//! A program's binaries, as the driver gives them.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_DRIVER_VERSION, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES};

use crate::CLResult;
use crate::core::device::Device;
use crate::core::handle::Object;
use crate::driver::dispatch::{ask, status};
use crate::driver::query;

/// What the driver gave for the last builds.
#[derive(Default)]
pub struct Binaries {
    was_asked: bool,
    /// By device id, with the driver that made it (device name, driver version).
    by_device: BTreeMap<u64, (String, Vec<u8>)>,
}

impl Binaries {
    /// Asks the driver for those of a program. May take long.
    pub(super) fn fetch(real: *mut c_void, devices: &[Arc<Device>]) -> Binaries {
        Binaries {
            was_asked: true,
            by_device: of_each(real, devices),
        }
    }

    pub(super) fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// To be asked for again.
    pub(super) fn forget(&mut self) {
        *self = Binaries::default();
    }

    /// One for each of these devices, if each device is what it was made for.
    pub(super) fn usable(&self, devices: &[Arc<Device>]) -> Option<Vec<Vec<u8>>> {
        let of_one = |device: &Arc<Device>| {
            let (made_for, binary) = self.by_device.get(&device.slot().id())?;
            (*made_for == driver_of(device)).then(|| binary.clone())
        };
        devices.iter().map(of_one).collect()
    }
}

/// Device name and driver version: what a binary is good for.
fn driver_of(device: &Device) -> String {
    let real = device.real.get();
    let name = query::device_text(real, opencl_sys::CL_DEVICE_NAME).unwrap_or_default();
    format!(
        "{name}\n{}",
        query::device_text(real, CL_DRIVER_VERSION).unwrap_or_default()
    )
}

/// What pocl allocates to write a binary, in bytes, and uses without a look at the answer (`MAX_BINARY_SIZE` in its
/// `pocl_binary.c`, 3.1 to 7.1).
const POCL_TAKES: usize = 256 << 20;

/// Whether asking these devices' driver for a binary would end the process.
fn lack_memory(devices: &[Arc<Device>]) -> bool {
    devices.iter().any(|device| device.is_pocls()) && {
        // SAFETY: allocates, and frees what it got; hidden from the optimiser, which would take the success for granted.
        unsafe {
            let taken = std::hint::black_box(libc::malloc(POCL_TAKES));
            libc::free(taken);
            taken.is_null()
        }
    }
}

/// None where the driver has not one for each device.
fn of_each(real: *mut c_void, devices: &[Arc<Device>]) -> BTreeMap<u64, (String, Vec<u8>)> {
    if lack_memory(devices) {
        log::info!("no memory for a program's binary: it will be built from its source");
        return BTreeMap::new();
    }
    let sizes = sizes(real).unwrap_or_default();
    if sizes.len() != devices.len() || sizes.contains(&0) {
        return BTreeMap::new();
    }
    let made = blobs(real, &sizes).unwrap_or_default();
    let pairs = devices.iter().zip(made);
    let keyed = pairs.map(|(device, blob)| (device.slot().id(), (driver_of(device), blob)));
    keyed.collect()
}

/// `CL_PROGRAM_BINARY_SIZES`.
pub(super) fn sizes(real: *mut c_void) -> CLResult<Vec<usize>> {
    let sizes = query::bytes(ask!(real, clGetProgramInfo(real, CL_PROGRAM_BINARY_SIZES)))?;
    let sizes = sizes.chunks_exact(8);
    let sizes = sizes.map(|size| usize::from_ne_bytes(size.try_into().expect("a chunk of 8")));
    Ok(sizes.collect())
}

/// `CL_PROGRAM_BINARIES`, of these sizes.
pub(super) fn blobs(real: *mut c_void, sizes: &[usize]) -> CLResult<Vec<Vec<u8>>> {
    let mut blobs: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![0; size]).collect();
    let mut pointers: Vec<*mut u8> = blobs.iter_mut().map(|blob| blob.as_mut_ptr()).collect();
    let bytes = pointers.len() * size_of::<*mut u8>();
    status!(
        real,
        clGetProgramInfo(
            real,
            CL_PROGRAM_BINARIES,
            bytes,
            pointers.as_mut_ptr().cast(),
            std::ptr::null_mut()
        )
    )?;
    Ok(blobs)
}
