//! Binaries make programs again at the same driver in little time. They are fetched while the program runs, because a driver
//! may compile for it, and kept until the next build.

use opencl_sys::CL_PROGRAM_NUM_KERNELS;

use super::binaries::Binaries;
use super::object::{Building, Origin, Program, Step};
use crate::driver::dispatch::ask;
use crate::driver::query;

const INCLUDE: &[u8] = b"include";

/// pocl 3.1 compiles about ten kernels a second.
const POCL_BINARY_KERNELS: u64 = 16;

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
            !building.binaries.was_asked() && self.needs_binaries(&building)
        };
        if real.is_null() || !is_needed() {
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
        if !self.devices.iter().any(|device| device.is_pocls()) {
            return false;
        }
        let real = self.real.get();
        let kernels = query::number(ask!(real, clGetProgramInfo(real, CL_PROGRAM_NUM_KERNELS)));
        kernels.is_ok_and(|kernels| kernels > POCL_BINARY_KERNELS)
    }
}
