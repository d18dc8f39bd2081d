//! Binaries make programs again at the same driver in little time. They are fetched while the program runs, because a driver
//! may compile for it, unless the driver cannot bear that; and kept until the next build.

use std::ptr::null_mut;

use opencl_sys::{CL_KERNEL_COMPILE_WORK_GROUP_SIZE, CL_PROGRAM_NUM_KERNELS};

use super::binaries::Binaries;
use super::object::{Building, Origin, Program, Step};
use crate::CLResult;
use crate::driver::dispatch::{ask, released, status};
use crate::driver::query;
use runtime::mover;

const INCLUDE: &[u8] = b"include";

/// pocl 3.1 compiles about ten kernels a second.
const POCL_BINARY_KERNELS: u64 = 16;

impl Program {
    /// Fetches the binaries of its builds, unless that was done since the last one or it is better built again, or it is
    /// being built. May take long.
    pub fn keep_binaries(&self, program: mover::Program) {
        let Some(_one) = self.at_driver_if_free() else {
            return;
        };
        let real = self.real.get();
        let is_needed = || {
            let building = self.building();
            !building.binaries.was_asked() && self.needs_binaries(&building)
        };
        let may_be_asked = || program == mover::Program::Waits || !self.must_rest();
        if real.is_null() || !is_needed() || !may_be_asked() {
            return;
        }
        let binaries = Binaries::fetch(real, &self.devices);
        self.building().binaries = binaries;
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
        if !self.is_at_pocl() {
            return false;
        }
        let real = self.real.get();
        let kernels = query::number(ask!(real, clGetProgramInfo(real, CL_PROGRAM_NUM_KERNELS)));
        kernels.is_ok_and(|kernels| kernels > POCL_BINARY_KERNELS)
    }

    /// Whether asking for its binaries while its kernels run may end the process. pocl compiles a general version of each kernel
    /// for them. If the kernel requires a work-group size, a command that is under way then gives back that version for its own,
    /// which nobody holds, and pocl aborts (3.1 to 5.0: `pocl_release_dlhandle_cache`).
    fn must_rest(&self) -> bool {
        self.is_at_pocl() && self.requires_sizes().unwrap_or(true)
    }

    fn is_at_pocl(&self) -> bool {
        self.devices.iter().any(|device| device.is_pocls())
    }

    /// Whether a kernel of the driver's program requires a work-group size.
    fn requires_sizes(&self) -> CLResult<bool> {
        let real = self.real.get();
        let mut count = 0;
        status!(
            real,
            clCreateKernelsInProgram(real, 0, null_mut(), &raw mut count)
        )?;
        let mut kernels = vec![null_mut(); count as usize];
        let room = kernels.as_mut_ptr();
        status!(
            real,
            clCreateKernelsInProgram(real, count, room, null_mut())
        )?;
        let requires = |&kernel: &*mut _| {
            self.devices.iter().any(|device| {
                let (device, what) = (device.real.get(), CL_KERNEL_COMPILE_WORK_GROUP_SIZE);
                let size =
                    query::bytes(ask!(kernel, clGetKernelWorkGroupInfo(kernel, device, what)));
                size.is_ok_and(|size| size.iter().any(|&byte| byte != 0))
            })
        };
        let any = kernels.iter().any(requires);
        for kernel in kernels {
            released("a kernel", status!(kernel, clReleaseKernel(kernel)));
        }
        Ok(any)
    }
}
