//! A driver's program from what was remembered of the program's own.

use std::ffi::c_void;

use opencl_sys::CL_INVALID_PROGRAM;

use super::compiler;
use super::object::{Built, Constants, Origin, Program};
use crate::CLResult;
use crate::core::device::driver_handles;
use crate::driver::dispatch::{create, status};
use crate::driver::extension;

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
                let devices = driver_handles(&self.devices);
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
            self.set_constants(real, &built.constants)?;
            let run = |add_arg_info| {
                compiler::run(real, add_arg_info, &built.devices, &built.step, false)
            };
            match add_arg_info && built.adds_arg_info {
                true => run(true).or_else(|_| run(false)), // another driver may refuse it
                false => run(false),
            }
        })
    }

    pub(super) fn load(&self, binaries: &[Vec<u8>]) -> CLResult<*mut c_void> {
        let context = self.context.real.get();
        let devices = driver_handles(&self.devices);
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
