//! Making a driver's program again: from binaries where device and driver are the same, else as the program did.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_BUILD_NONE, CL_DRIVER_VERSION, CL_INVALID_PROGRAM, CL_PROGRAM_BINARIES,
    CL_PROGRAM_BINARY_SIZES, CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BUILD_LOG, CL_PROGRAM_BUILD_STATUS,
    cl_int,
};

use super::CLResult;
use super::build::{self, reals};
use super::device::Device;
use super::handle::Object;
use super::program::{Building, Built, Constants, Origin, Outcome, Program, Step, release};
use crate::driver::dispatch::{create, status};
use crate::driver::{extension, query};

impl Program {
    /// A new program of the driver's, as the program created it; not built.
    ///
    /// # Errors
    /// The driver's; `CL_INVALID_PROGRAM` for a linked program, which is made by its link.
    pub(super) fn original(&self) -> CLResult<*mut c_void> {
        let context = self.context.real.get();
        match &self.origin {
            Origin::Source(source) => {
                let length = source.len();
                // A length of 0 would mean a zero-ended string, which an empty list is not.
                let mut text = match length {
                    0 => c"".as_ptr(),
                    _ => source.as_ptr().cast(),
                };
                create!(
                    context,
                    clCreateProgramWithSource(context, 1, &raw mut text, &raw const length)
                )
            }
            Origin::Il(il) => {
                let platform = &self.devices.first().ok_or(CL_INVALID_PROGRAM)?.platform;
                extension::create_program_with_il(platform.real.get(), context, il)
            }
            Origin::Binary(binaries) => self.load(binaries),
            Origin::BuiltIn(names) => {
                let devices = reals(&self.devices);
                let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
                create!(
                    context,
                    clCreateProgramWithBuiltInKernels(
                        context,
                        count,
                        devices.as_ptr(),
                        names.as_ptr()
                    )
                )
            }
            Origin::Linked => Err(CL_INVALID_PROGRAM),
        }
    }

    /// Gives specialization constants to the driver.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn set_constants(&self, real: *mut c_void, constants: &Constants) -> CLResult<()> {
        constants.iter().try_for_each(|(&id, value)| {
            let bytes = value.as_ptr().cast();
            status!(
                real,
                clSetProgramSpecializationConstant(real, id, value.len(), bytes)
            )
        })
    }

    /// Before a move: keeps logs, status and binaries, and releases the driver's program.
    pub fn unmake(&self) {
        self.building().plain = None;
        if let Some(replaced) = self.replaced.take() {
            release(replaced);
        }
        let Some(real) = self.real.take() else { return };
        let binaries = match self.origin {
            Origin::BuiltIn(_) => BTreeMap::new(),
            _ => binaries(real, &self.devices),
        };
        let adds_arg_info = self.adds_arg_info();
        let mut building = self.building();
        for device in &self.devices {
            // What was kept at an earlier move is what the program's own build said.
            let kept = building.kept.entry(device.slot().id());
            kept.or_insert_with(|| outcome(real, device, adds_arg_info));
        }
        building.binaries = binaries;
        building.is_substitute = false;
        drop(building);
        release(real);
    }

    /// Makes the driver's program again, unless that was done for another one that needs it.
    ///
    /// # Errors
    /// The driver's.
    pub fn make(&self) -> CLResult<()> {
        if !self.real.get().is_null() {
            return Ok(());
        }
        let (builds, failed, binaries) = {
            let building = self.building();
            let builds = building.builds.iter().cloned();
            let (builds, failed): (Vec<_>, Vec<_>) =
                builds.partition(|built| building.succeeded(built, std::ptr::null_mut()));
            (builds, failed, self.usable_binaries(&building))
        };
        if !builds.is_empty()
            && let Some(binaries) = binaries
        {
            match self.make_from(&binaries, &builds) {
                Ok(()) => return Ok(()),
                Err(code) => log::info!(
                    "a program's binary was refused (error {code}): building it from source"
                ),
            }
        }
        if matches!(self.origin, Origin::Linked) {
            // It was made by one link.
            let built = builds.iter().chain(&failed).next();
            return self.link_again(built.ok_or(CL_INVALID_PROGRAM)?, failed.is_empty());
        }
        let real = self.original()?;
        self.real.set(real);
        self.build_again(real, builds.iter(), true)?;
        let constants = self.building().constants.clone();
        self.set_constants(real, &constants)
    }

    /// Makes builds that had succeeded once more, in their order; with the argument info that we added then, if `add_arg_info`.
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn build_again<'b>(
        &self,
        real: *mut c_void,
        mut builds: impl Iterator<Item = &'b Built>,
        add_arg_info: bool,
    ) -> CLResult<()> {
        builds.try_for_each(|built| {
            if let Step::Compile { headers, .. } = &built.step {
                // A header may be younger than what it is included in.
                headers.iter().try_for_each(|(_, header)| header.make())?;
            }
            self.set_constants(real, &built.constants)?;
            let run =
                |add_arg_info| build::run(real, add_arg_info, &built.devices, &built.step, false);
            match add_arg_info && built.adds_arg_info {
                true => run(true).or_else(|_| run(false)), // another driver may refuse it
                false => run(false),
            }
        })
    }

    /// The link that made it, if one did.
    pub(super) fn made_by_link(&self) -> Option<Built> {
        let building = self.building();
        let mut builds = building.builds.iter();
        let link = builds.find(|built| matches!(built.step, Step::Link { .. }));
        link.cloned()
    }

    fn link_again(&self, built: &Built, succeeded: bool) -> CLResult<()> {
        let adds = built.adds_arg_info;
        let (real, made) = build::link(&self.context, &built.devices, &built.step, adds, false);
        self.real.set(real);
        // A link that had failed fails again.
        if succeeded { made.answer } else { Ok(()) }
    }

    fn make_from(&self, binaries: &[Vec<u8>], builds: &[Built]) -> CLResult<()> {
        let real = self.load(binaries)?;
        // Compiled objects and libraries are complete as loaded; executables need the build call.
        let rebuild = |built: &Built| {
            let options = match &built.step {
                Step::Compile { .. } => return Ok(()),
                Step::Build { options } => options.clone(),
                Step::Link { .. } => None,
            };
            build::run(real, false, &built.devices, &Step::Build { options }, false)
        };
        let answer = builds.iter().try_for_each(rebuild);
        match answer {
            Ok(()) => {
                self.real.set(real);
                self.building().is_substitute =
                    matches!(self.origin, Origin::Source(_) | Origin::Il(_));
            }
            Err(_) => release(real),
        }
        answer
    }

    fn load(&self, binaries: &[Vec<u8>]) -> CLResult<*mut c_void> {
        let context = self.context.real.get();
        let devices = reals(&self.devices);
        let lengths: Vec<usize> = binaries.iter().map(Vec::len).collect();
        let mut pointers: Vec<*const u8> = binaries.iter().map(|binary| binary.as_ptr()).collect();
        let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        create!(
            context,
            clCreateProgramWithBinary(
                context,
                count,
                devices.as_ptr(),
                lengths.as_ptr(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut()
            )
        )
    }

    /// The kept binaries, if there is one for every device and each device is what it was made for.
    fn usable_binaries(&self, building: &Building) -> Option<Vec<Vec<u8>>> {
        self.devices
            .iter()
            .map(|device| {
                let (made_for, binary) = building.binaries.get(&device.slot().id())?;
                (*made_for == driver_of(device)).then(|| binary.clone())
            })
            .collect()
    }
}

fn build_info(real: *mut c_void, device: &Device, parameter: u32) -> Vec<u8> {
    let device = device.real.get();
    query::bytes(&|size, value, size_ret| {
        status!(
            real,
            clGetProgramBuildInfo(real, device, parameter, size, value, size_ret)
        )
    })
    .unwrap_or_default()
}

/// A device's build status, as the driver's program has it now.
pub(super) fn status(real: *mut c_void, device: &Device) -> cl_int {
    let status = build_info(real, device, CL_PROGRAM_BUILD_STATUS);
    let status = status.first_chunk();
    status.map_or(CL_BUILD_NONE, |bytes| cl_int::from_ne_bytes(*bytes))
}

fn outcome(real: *mut c_void, device: &Device, adds_arg_info: bool) -> Outcome {
    let log = build_info(real, device, CL_PROGRAM_BUILD_LOG);
    Outcome {
        status: status(real, device),
        binary_type: build_info(real, device, CL_PROGRAM_BINARY_TYPE),
        log: match adds_arg_info {
            true => build::without_our_option(log),
            false => log,
        },
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

fn binaries(real: *mut c_void, devices: &[Arc<Device>]) -> BTreeMap<u64, (String, Vec<u8>)> {
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
