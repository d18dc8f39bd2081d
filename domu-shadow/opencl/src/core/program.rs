//! Programs: where they came from and what was done with them. `build` calls the compiler, `remake` makes them again.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use opencl_sys::{CL_BUILD_SUCCESS, CL_INVALID_OPERATION, CL_INVALID_PROGRAM, cl_int};

use super::binaries::Binaries;
use super::build::{self, Made, has_arg_info};
use super::context::Context;
use super::device::Device;
use super::farewell::Destructors;
use super::handle::{self, Kind, Object, Slot};
use super::kernel::{Kernel, Signature};
use crate::CLResult;
use runtime::blocked::Hold;

use super::driver_handle::DriverHandle;
use super::obstacles;
use super::plain::Plain;
use super::remake;
use crate::driver::dispatch::status;

/// How the program came to be.
pub enum Origin {
    Source(Vec<u8>),
    /// `clCreateProgramWithIL`.
    Il(Vec<u8>),
    /// One per device.
    Binary(Vec<Vec<u8>>),
    /// `clCreateProgramWithBuiltInKernels`: the names.
    BuiltIn(CString),
    /// `clLinkProgram`: made by the link itself.
    Linked,
}

/// Specialization constants by id, each the bytes that the program gave.
pub type Constants = BTreeMap<u32, Vec<u8>>;

/// What was done to build it.
#[derive(Clone)]
pub enum Step {
    Build {
        options: Option<CString>,
    },
    Compile {
        options: Option<CString>,
        headers: Vec<(CString, Arc<Program>)>,
    },
    Link {
        options: Option<CString>,
        inputs: Vec<Arc<Program>>,
    },
}

impl Step {
    pub fn options(&self) -> Option<&CString> {
        match self {
            Step::Build { options }
            | Step::Compile { options, .. }
            | Step::Link { options, .. } => options.as_ref(),
        }
    }

    fn inputs(&self) -> &[Arc<Program>] {
        match self {
            Step::Link { inputs, .. } => inputs,
            _ => &[],
        }
    }
}

/// A build, with all that it depended on.
#[derive(Clone)]
pub struct Built {
    /// Those that no later build was for.
    pub devices: Vec<Arc<Device>>,
    pub step: Step,
    pub constants: Constants,
    /// It has argument info that the program did not ask for.
    pub adds_arg_info: bool,
}

/// What the driver said about a build, kept over a move.
#[derive(Clone)]
pub struct Outcome {
    pub status: cl_int,
    pub log: Vec<u8>,
    /// `CL_PROGRAM_BINARY_TYPE`; nothing where the driver has no such thing.
    pub binary_type: Vec<u8>,
}

#[derive(Default)]
pub struct Building {
    /// In their order. Each device is in one at most: its last.
    pub builds: Vec<Built>,
    /// By device id: filled when the program is released for a move, cleared by the next build.
    pub kept: BTreeMap<u64, Outcome>,
    /// For the next build.
    pub constants: Constants,
    /// Of the last builds.
    pub(super) binaries: Binaries,
    /// The driver's program was loaded from those binaries: it can't be built with other options, and may lack argument
    /// info.
    pub(super) is_substitute: bool,
    /// By kernel name: what the last build told, of which a binary may tell less.
    pub(super) signatures: BTreeMap<CString, Signature>,
    /// How often it was built.
    times: u64,
    /// Of a linked program: how often each input had been.
    inputs_times: Vec<u64>,
    /// See [`Program::binary_sizes`].
    pub told: Option<Arc<Vec<Vec<u8>>>>,
    /// See [`Program::with_plain`].
    pub(super) plain: Option<Plain>,
    variables: Option<Hold>,
}

impl Building {
    /// A new build is for these devices: what was known of older ones is not true of them any more.
    fn forget(&mut self, devices: &[Arc<Device>]) {
        for built in &mut self.builds {
            let is_other =
                |device: &Arc<Device>| !devices.iter().any(|one| Arc::ptr_eq(one, device));
            built.devices.retain(is_other);
        }
        self.builds.retain(|built| !built.devices.is_empty());
        for device in devices {
            self.kept.remove(&device.slot().id());
        }
        self.binaries.forget();
        self.signatures.clear();
        self.told = None;
        self.plain = None;
        self.times += 1;
    }

    /// The last build for a device.
    pub fn of(&self, device: &Device) -> Option<&Built> {
        let is_for = |built: &&Built| built.devices.iter().any(|one| std::ptr::eq(&**one, device));
        self.builds.iter().find(is_for)
    }

    /// Whether a build succeeded for any of its devices: what was kept says, else the driver's program.
    pub(super) fn succeeded(&self, built: &Built, real: *mut c_void) -> bool {
        built.devices.iter().any(|device| {
            let kept = self.kept.get(&device.slot().id());
            let status = kept.map(|outcome| outcome.status);
            status.unwrap_or_else(|| remake::status(real, device)) == CL_BUILD_SUCCESS
        })
    }
}

pub struct Program {
    pub(super) slot: Slot<Program>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    pub devices: Vec<Arc<Device>>,
    pub origin: Origin,
    building: Mutex<Building>,
    /// Held over a build, and while its binaries are fetched: a driver writes what the program has by then, which may not
    /// fit what it said before.
    at_driver: Mutex<()>,
    /// `clSetProgramReleaseCallback`.
    pub destructors: Destructors,
    /// One that was replaced. Another thread may be using it, so it stays until the program goes.
    pub(super) replaced: DriverHandle,
}

impl Object for Program {
    const KIND: Kind = Kind::Program;
    const INVALID: cl_int = CL_INVALID_PROGRAM;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

impl Program {
    /// The shadow of a driver's program that this process owns from now on.
    pub fn of(
        context: Arc<Context>,
        devices: Vec<Arc<Device>>,
        origin: Origin,
        real: *mut c_void,
    ) -> Arc<Program> {
        Arc::new(Program {
            slot: Slot::reserve(),
            real: DriverHandle::new(real),
            context,
            devices,
            origin,
            building: Mutex::default(),
            at_driver: Mutex::default(),
            destructors: Destructors::default(),
            replaced: DriverHandle::new(std::ptr::null_mut()),
        })
    }

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

    pub fn building(&self) -> MutexGuard<'_, Building> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while a build or a fetch goes on.
    pub(super) fn at_driver_if_free(&self) -> Option<MutexGuard<'_, ()>> {
        match self.at_driver.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn at_driver(&self) -> MutexGuard<'_, ()> {
        self.at_driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was built with argument info behind the program's back, which must not see it.
    pub fn adds_arg_info(&self) -> bool {
        let building = self.building();
        building.builds.iter().any(|built| built.adds_arg_info)
    }

    /// Builds or compiles for `devices`, and remembers how; whether the program gave a callback. A linked program was built
    /// by its link.
    ///
    /// # Errors
    /// The driver's; a build that ended in failure is remembered as well.
    pub fn build(&self, devices: Vec<Arc<Device>>, step: Step, is_notified: bool) -> CLResult<()> {
        let _one = self.at_driver();
        if self.building().is_substitute {
            self.check_no_kernels()?;
            let is_for_all = devices.is_empty();
            let others = (!is_for_all).then(|| self.succeeded(&devices));
            self.start_anew(&others.unwrap_or_default())?;
        }
        let made = self.build_either_way(&devices, &step, is_notified);
        // What drivers make of a build of a linked program (an error, the specification says) is that of its link.
        if build::has_ended(made.answer) && !matches!(self.origin, Origin::Linked) {
            let constants = self.building().constants.clone();
            self.built(devices, step, constants, &made);
        }
        made.answer
    }

    /// With argument info behind the program's back, if the driver takes that.
    ///
    /// What it refuses then is built as the program asked for it, so that its answer and its log are those of a plain build: a
    /// driver may not know the option (before OpenCL 1.2) or make something wrong of it (NVIDIA's compiler, CUDA 13.0, of a
    /// kernel without arguments that calls `printf`). Some (Intel's) write one log behind the other, so nothing is left of
    /// the first try.
    fn build_either_way(&self, devices: &[Arc<Device>], step: &Step, is_notified: bool) -> Made {
        let made = |add_arg_info: bool| {
            // The program's callback is due once.
            let is_notified = is_notified && !add_arg_info;
            Made {
                answer: build::run(self.real.get(), add_arg_info, devices, step, is_notified),
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

    /// Builds that succeeded, but for those for these devices.
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
        let has_variables = build::variables(self.real.get(), &self.devices) > 0;
        building.variables = has_variables.then(|| obstacles::VARIABLES.hold());
    }

    /// "`CL_INVALID_OPERATION` if there are kernel objects attached to program."
    fn check_no_kernels(&self) -> CLResult<()> {
        let is_ours = |kernel: &Arc<Kernel>| std::ptr::eq(&*kernel.program, self);
        if handle::all::<Kernel>().iter().any(is_ours) {
            Err(CL_INVALID_OPERATION)
        } else {
            Ok(())
        }
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

    /// Before a kernel is made: what a binary may not tell of it is known or comes with a new build from the source. `None`
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

    /// What is known of a kernel, else what the driver tells; kept, unless it has a binary.
    pub fn signature(&self, name: &CString, of_driver: Signature) -> Signature {
        let mut building = self.building();
        if let Some(known) = building.signatures.get(name) {
            return known.clone();
        }
        if !building.is_substitute {
            building.signatures.insert(name.clone(), of_driver.clone());
        }
        of_driver
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

    /// Whether no input of the link that made it was built again since.
    pub(super) fn is_as_linked(&self, link: &Step) -> bool {
        let times = self.building().inputs_times.clone();
        let mut both = link.inputs().iter().zip(times);
        both.all(|(input, times)| input.building().times == times)
    }

    /// One device's build info that was kept over a move.
    pub fn kept(&self, device: &Device) -> Option<Outcome> {
        self.building().kept.get(&device.slot().id()).cloned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(replaced) = self.replaced.take() {
            release(replaced);
        }
        let farewell = self.destructors.farewell(self.slot.handle());
        match self.real.take() {
            Some(real) => farewell.say_when_gone(
                |call, user| status!(real, clSetProgramReleaseCallback(real, Some(call), user)),
                || release(real),
            ),
            None => farewell.say(),
        }
    }
}

pub(super) fn release(real: *mut c_void) {
    if let Err(code) = status!(real, clReleaseProgram(real)) {
        log::warn!("a driver refused to release a program: error {code}");
    }
}
