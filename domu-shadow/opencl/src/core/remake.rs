//! Making a driver's program again: from binaries where device and driver are the same, else as the program did.

use std::ffi::c_void;

use opencl_sys::{
    CL_BUILD_NONE, CL_INVALID_PROGRAM, CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BUILD_LOG,
    CL_PROGRAM_BUILD_STATUS, cl_int,
};

use super::build::{self, reals};
use super::device::Device;
use super::handle::Object;
use super::program::{Built, Constants, Origin, Outcome, Program, Step, release};
use crate::CLResult;
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

    /// Before a move: keeps logs, status and (unless that was done before) binaries, and releases the driver's program.
    pub fn unmake(&self) {
        self.building().plain = None;
        if let Some(replaced) = self.replaced.take() {
            release(replaced);
        }
        self.keep_binaries();
        let Some(real) = self.real.take() else { return };
        let adds_arg_info = self.adds_arg_info();
        let mut building = self.building();
        for device in &self.devices {
            // What was kept at an earlier move is what the program's own build said.
            let kept = building.kept.entry(device.slot().id());
            kept.or_insert_with(|| outcome(real, device, adds_arg_info));
        }
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
            (builds, failed, building.binaries.usable(&self.devices))
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
        self.make_from_origin(&builds, &failed)?;
        // The driver that is here now makes others.
        self.building().binaries.forget();
        Ok(())
    }

    fn make_from_origin(&self, builds: &[Built], failed: &[Built]) -> CLResult<()> {
        if matches!(self.origin, Origin::Linked) {
            // It was made by one link.
            let built = builds.iter().chain(failed).next();
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
