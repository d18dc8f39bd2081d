//! What the program has built, and how it is built anew where a binary does not do.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use opencl_sys::{CL_INVALID_OPERATION, CL_INVALID_PROGRAM};

use super::arg_info_option::has_arg_info;
use super::build_info;
use super::compiler::{self, Made};
use super::driver_program::release;
use super::object::{Building, Built, Constants, Origin, Program, Step};
use crate::CLResult;
use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::obstacles;

impl Program {
    /// Creates it with the driver.
    ///
    /// # Errors
    /// The driver's.
    pub fn create(
        context: Arc<Context>,
        devices: Vec<Arc<Device>>,
        origin: Origin,
    ) -> CLResult<Arc<Program>> {
        let program = Program::of(context, devices, origin, std::ptr::null_mut());
        program.real.set(program.original()?);
        Ok(program)
    }

    /// Builds or compiles for `devices`, and remembers how. `is_notified` says whether the program gave a callback,
    /// `has_kernels` whether kernels are attached. A linked program was built by its link.
    ///
    /// # Errors
    /// The driver's; a build that ended in failure is remembered as well.
    pub fn build(
        &self,
        devices: Vec<Arc<Device>>,
        step: Step,
        is_notified: bool,
        has_kernels: impl FnOnce(&Program) -> bool,
    ) -> CLResult<()> {
        let _one = self.at_driver();
        if self.building().is_substitute {
            // "CL_INVALID_OPERATION if there are kernel objects attached to program."
            if has_kernels(self) {
                return Err(CL_INVALID_OPERATION);
            }
            let is_for_all = devices.is_empty();
            let others = (!is_for_all).then(|| self.succeeded(&devices));
            self.start_anew(&others.unwrap_or_default())?;
        }
        let made = self.build_either_way(&devices, &step, is_notified);
        // What drivers make of a build of a linked program (an error, the specification says) is that of its link.
        if compiler::has_ended(made.answer) && !matches!(self.origin, Origin::Linked) {
            let constants = self.building().constants.clone();
            self.built(devices, step, constants, &made);
        }
        made.answer
    }

    /// With argument info behind the program's back, if the driver takes that.
    ///
    /// If it refuses, the program is built as it was asked for, so that answer and log are those of a plain build. A driver
    /// may not know the option (before OpenCL 1.2), or mishandle it: NVIDIA's compiler (CUDA 13.0) does for a kernel without
    /// arguments that calls `printf`. Intel's appends to the log, so nothing is left of the first try.
    fn build_either_way(&self, devices: &[Arc<Device>], step: &Step, is_notified: bool) -> Made {
        let made = |add_arg_info: bool| {
            // The program's callback is due once.
            let is_notified = is_notified && !add_arg_info;
            Made {
                answer: compiler::run(self.real.get(), add_arg_info, devices, step, is_notified),
                adds_arg_info: add_arg_info,
            }
        };
        if !matches!(self.origin, Origin::Source(_)) || has_arg_info(step.options()) {
            return made(false);
        }
        let before = self.succeeded(&[]);
        let first = made(true);
        // `CL_INVALID_OPERATION`: it has kernels.
        if matches!(first.answer, Ok(()) | Err(CL_INVALID_OPERATION)) {
            return first;
        }
        if let Err(code) = self.start_anew(&before) {
            log::info!(
                "a program is not made anew to be built without argument info: error {code}"
            );
        }
        made(false)
    }

    /// Builds that succeeded, without those for these devices.
    fn succeeded(&self, but_for: &[Arc<Device>]) -> Vec<Built> {
        let building = self.building();
        let mut builds = building.builds.clone();
        for built in &mut builds {
            let is_other =
                |device: &Arc<Device>| !but_for.iter().any(|one| Arc::ptr_eq(one, device));
            built.devices.retain(is_other);
        }
        builds.retain(|built| {
            !built.devices.is_empty() && building.succeeded(built, self.real.get())
        });
        builds
    }

    /// Remembers a build that has ended; no devices stand for all.
    fn built(&self, devices: Vec<Arc<Device>>, step: Step, constants: Constants, made: &Made) {
        let devices = match devices.is_empty() {
            true => self.devices.clone(),
            false => devices,
        };
        let mut building = self.building();
        building.forget(&devices);
        building.builds.push(Built {
            devices,
            step,
            constants,
            adds_arg_info: made.adds_arg_info,
        });
        let has_variables = build_info::variables(self.real.get(), &self.devices) > 0;
        building.variables = has_variables.then(|| obstacles::VARIABLES.hold());
    }

    /// Makes the driver's program from its source again, with these builds. Kernels keep their own program.
    fn start_anew(&self, builds: &[Built]) -> CLResult<()> {
        let original = self.original()?;
        let mut building = self.building();
        let made = self.build_again(original, builds.iter(), true);
        let made = made.and_then(|()| self.set_constants(original, &building.constants));
        if let Err(code) = made {
            release(original);
            return Err(code);
        }
        self.replace_by(original, &mut building);
        Ok(())
    }

    fn replace_by(&self, real: *mut c_void, building: &mut Building) {
        building.is_substitute = false;
        let old = self.real.get();
        self.real.set(real);
        let earlier = self.replaced.take();
        self.replaced.set(old);
        if let Some(earlier) = earlier {
            release(earlier);
        }
    }

    /// Before a kernel is made: if its signature is not known and a binary may lack it, builds from the source again. `None`
    /// for the name stands for all kernels.
    pub fn prepare_kernel(&self, name: Option<&CString>) {
        let mut building = self.building();
        let is_known = name.is_some_and(|name| building.signatures.contains_key(name));
        if !building.is_substitute || is_known || !matches!(self.origin, Origin::Source(_)) {
            return;
        }
        let rebuilt = self.original().and_then(|real| {
            let builds = building.builds.iter();
            let succeeded = builds.filter(|built| building.succeeded(built, self.real.get()));
            let answer = self.build_again(real, succeeded, true);
            answer.map(|()| real).inspect_err(|_| release(real))
        });
        match rebuilt {
            Ok(real) => self.replace_by(real, &mut building),
            Err(code) => log::warn!(
                "a program cannot be built from its source again (error {code}): the arguments of its new kernels are \
                 guessed"
            ),
        }
    }

    /// `clSetProgramSpecializationConstant`: for the next build.
    ///
    /// # Errors
    /// For a program of another origin than an intermediate language `CL_INVALID_PROGRAM`, or `CL_INVALID_OPERATION` "if no
    /// devices associated with program support intermediate language programs"; the driver's.
    pub fn specialize(&self, id: u32, value: &[u8]) -> CLResult<()> {
        if !matches!(self.origin, Origin::Il(_)) {
            // Not the driver's answer: pocl 3.1 crashes.
            let takes_some = self.devices.iter().any(|device| device.takes_il());
            return Err(if takes_some {
                CL_INVALID_PROGRAM
            } else {
                CL_INVALID_OPERATION
            });
        }
        let constant = Constants::from([(id, value.to_vec())]);
        let mut building = self.building();
        if building.is_substitute {
            // A binary has no constants to set: another program of the same origin says whether this is one.
            let original = self.original()?;
            let answer = self.set_constants(original, &constant);
            release(original);
            answer?;
        } else {
            self.set_constants(self.real.get(), &constant)?;
        }
        building.constants.extend(constant);
        Ok(())
    }

    /// Remembers the link that made this program.
    pub fn linked(&self, step: Step, made: &Made) {
        let times = step.inputs().iter().map(|input| input.building().times);
        let times = times.collect();
        self.built(Vec::new(), step, Constants::new(), made);
        self.building().inputs_times = times;
    }
}
