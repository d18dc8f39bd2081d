//! Programs' binaries, which make them again at the same driver in little time: fetched while the program runs, because a
//! driver may compile for it, and kept until the next build.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_DRIVER_VERSION, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES, CL_PROGRAM_NUM_KERNELS,
};

use super::device::Device;
use super::handle::Object;
use super::program::{Building, Origin, Program, Step};
use crate::CLResult;
use crate::driver::dispatch::status;
use crate::driver::query;

/// What the driver gave for the last builds.
#[derive(Default)]
pub struct Binaries {
    was_asked: bool,
    /// By device id, with the driver that made it (device name, driver version).
    by_device: BTreeMap<u64, (String, Vec<u8>)>,
}

impl Binaries {
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

impl Program {
    /// Fetches the binaries of its builds, unless that was done since the last one or it is better built again, or it is
    /// being built. May take long.
    pub fn keep_binaries(&self) {
        let Some(_one) = self.at_driver_if_free() else {
            return;
        };
        let real = self.real.get();
        let is_needed = || {
            let building = self.building();
            !building.binaries.was_asked && self.needs_binaries(&building)
        };
        if real.is_null() || !is_needed() {
            return;
        }
        let by_device = fetch(real, &self.devices);
        self.building().binaries = Binaries {
            was_asked: true,
            by_device,
        };
    }

    fn needs_binaries(&self, building: &Building) -> bool {
        let is_built = !building.builds.is_empty();
        let is_built_in = matches!(self.origin, Origin::BuiltIn(_));
        is_built && !is_built_in && !(self.is_complete(building) && self.is_sooner_built())
    }

    /// Whether building it needs nothing beside what is kept here: no file, no other program.
    fn is_complete(&self, building: &Building) -> bool {
        let includes = |text: &[u8]| text.windows(INCLUDE.len()).any(|part| part == INCLUDE);
        let is_plain = |step: &Step| match step {
            Step::Build { options } => !options.as_ref().is_some_and(|o| includes(o.as_bytes())),
            Step::Compile { .. } | Step::Link { .. } => false,
        };
        let mut steps = building.builds.iter().map(|built| &built.step);
        steps.all(is_plain)
            && match &self.origin {
                Origin::Source(text) => !includes(text),
                Origin::Il(_) | Origin::Binary(_) => true,
                Origin::BuiltIn(_) | Origin::Linked => false,
            }
    }

    /// For a binary pocl compiles every kernel, used or not, and keeps the program's calls waiting meanwhile. From its
    /// source it has a program in a tenth of a second, by its cache.
    fn is_sooner_built(&self) -> bool {
        if !self.devices.iter().any(|device| device.is_pocls()) {
            return false;
        }
        let real = self.real.get();
        let kernels = query::number(&|size, value, size_ret| {
            status!(
                real,
                clGetProgramInfo(real, CL_PROGRAM_NUM_KERNELS, size, value, size_ret)
            )
        });
        kernels.is_ok_and(|kernels| kernels > POCL_BINARY_KERNELS)
    }
}

const INCLUDE: &[u8] = b"include";

/// pocl 3.1 compiles about ten kernels a second.
const POCL_BINARY_KERNELS: u64 = 16;

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
fn fetch(real: *mut c_void, devices: &[Arc<Device>]) -> BTreeMap<u64, (String, Vec<u8>)> {
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
    let sizes = query::bytes(&|size, value, size_ret| {
        status!(
            real,
            clGetProgramInfo(real, CL_PROGRAM_BINARY_SIZES, size, value, size_ret)
        )
    })?;
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
