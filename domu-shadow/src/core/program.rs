//! Programs: where they came from and what was done with them. `build` calls the compiler, `remake` makes them again.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opencl_sys::{CL_BUILD_SUCCESS, CL_INVALID_OPERATION, CL_INVALID_PROGRAM, cl_int};

use super::CLResult;
use super::binaries::Binaries;
use super::build::{self, Plain, has_arg_info};
use super::context::Context;
use super::device::Device;
use super::farewell::Destructors;
use super::handle::{self, Kind, Object, Slot};
use super::kernel::{ArgInfo, Kernel};
use super::movable::Variables;
use super::real::Real;
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

    /// Whether its result can be linked, not run.
    pub fn is_for_linking(&self) -> bool {
        const LIBRARY: &[u8] = b"-create-library";
        match self {
            Step::Build { .. } => false,
            Step::Compile { .. } => true,
            Step::Link { options, .. } => options.as_ref().is_some_and(|options| {
                let mut each = options.as_bytes().split(u8::is_ascii_whitespace);
                each.any(|option| option == LIBRARY)
            }),
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
}

/// What the driver said about a build, kept over a move.
#[derive(Clone)]
pub struct Outcome {
    pub status: cl_int,
    pub log: Vec<u8>,
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
    /// By kernel name: the argument info that the last build gave.
    pub(super) signatures: BTreeMap<CString, Box<[ArgInfo]>>,
    /// How often it was built.
    times: u64,
    /// Of a linked program: how often each input had been.
    inputs_times: Vec<u64>,
    /// See [`Program::with_binary`].
    pub(super) as_asked: Option<Plain>,
    variables: Option<Variables>,
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
        self.as_asked = None;
        self.times += 1;
    }

    /// The last build for a device.
    pub fn of(&self, device: &Device) -> Option<&Built> {
        let is_for = |built: &&Built| built.devices.iter().any(|one| std::ptr::eq(&**one, device));
        self.builds.iter().find(is_for)
    }

    /// Whether a build succeeded for any of its devices, as far as that was kept.
    pub(super) fn succeeded(&self, built: &Built) -> bool {
        let kept = built.devices.iter();
        let mut kept = kept.filter_map(|device| self.kept.get(&device.slot().id()));
        kept.any(|outcome| outcome.status == CL_BUILD_SUCCESS)
    }
}

pub struct Program {
    pub(super) slot: Slot<Program>,
    pub real: Real,
    pub context: Arc<Context>,
    pub devices: Vec<Arc<Device>>,
    pub origin: Origin,
    building: Mutex<Building>,
    /// Held over a build, and while its binaries are fetched: a driver writes what the program has by then, which may not
    /// fit what it said before.
    at_driver: Mutex<()>,
    /// `clSetProgramReleaseCallback`.
    pub destructors: Destructors,
    /// A substitute that was replaced. Another thread may be using it, so it stays until the program goes.
    pub(super) replaced: Real,
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
            real: Real::new(real),
            context,
            devices,
            origin,
            building: Mutex::default(),
            at_driver: Mutex::default(),
            destructors: Destructors::default(),
            replaced: Real::new(std::ptr::null_mut()),
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

    pub(super) fn at_driver(&self) -> MutexGuard<'_, ()> {
        self.at_driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the program may see argument info: it asked for it, or we did not (see [`Program::asks_arg_info`]).
    pub fn shows_arg_info(&self) -> bool {
        if !self.asks_arg_info() {
            return true;
        }
        let building = self.building();
        let mut options = building
            .builds
            .iter()
            .filter_map(|built| built.step.options());
        options.any(|options| has_arg_info(options.as_bytes()))
    }

    /// Whether builds ask for argument info behind the program's back.
    pub(super) fn asks_arg_info(&self) -> bool {
        matches!(self.origin, Origin::Source(_))
    }

    /// Builds or compiles for `devices`, and remembers how. A linked program was built by its link.
    ///
    /// # Errors
    /// The driver's; a build that ended in failure is remembered as well.
    pub fn build(&self, devices: Vec<Arc<Device>>, step: Step) -> CLResult<()> {
        let _one = self.at_driver();
        if self.building().is_substitute {
            self.check_no_kernels()?;
            self.replace_substitute(&devices)?;
        }
        let answer = build::run(self.real.get(), self.asks_arg_info(), &devices, &step);
        if build::has_ended(answer) {
            let constants = self.building().constants.clone();
            self.built(devices, step, constants);
        }
        answer
    }

    /// Remembers a build that has ended; no devices stand for all.
    fn built(&self, devices: Vec<Arc<Device>>, step: Step, constants: Constants) {
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
        });
        let has_variables = build::variables(self.real.get(), &self.devices) > 0;
        building.variables = has_variables.then(Variables::new);
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

    /// Makes what was loaded from a binary at a move from its source again; built for all but these devices, of which
    /// none stand for all. Kernels keep their own program.
    fn replace_substitute(&self, but_for: &[Arc<Device>]) -> CLResult<()> {
        let original = self.original()?;
        let mut building = self.building();
        let mut others = building.builds.clone();
        for built in &mut others {
            let is_other =
                |device: &Arc<Device>| !but_for.iter().any(|one| Arc::ptr_eq(one, device));
            built.devices.retain(is_other);
        }
        others.retain(|built| !but_for.is_empty() && !built.devices.is_empty());
        let made = self.build_again(
            original,
            others.iter().filter(|one| building.succeeded(one)),
            self.asks_arg_info(),
        );
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
        self.replaced.set(old);
    }

    /// Before a kernel is made: argument info, which a binary may have lost, is known or comes with a new build from the
    /// source. `None` for the name stands for all kernels.
    pub fn prepare_kernel(&self, name: Option<&CString>) {
        let mut building = self.building();
        let is_known = name.is_some_and(|name| building.signatures.contains_key(name));
        if !building.is_substitute || !self.asks_arg_info() || is_known {
            return;
        }
        if building.builds.is_empty() {
            return;
        }
        let rebuilt = self.original().and_then(|real| {
            let builds = building.builds.iter();
            let succeeded = builds.filter(|built| building.succeeded(built));
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

    /// Keeps a kernel's argument info, or gives what is known where the driver has none.
    pub fn signature(&self, name: &CString, of_driver: Box<[ArgInfo]>) -> Box<[ArgInfo]> {
        let mut building = self.building();
        let has_info = of_driver.iter().flatten().any(Option::is_some);
        if has_info || of_driver.is_empty() {
            building.signatures.insert(name.clone(), of_driver.clone());
            return of_driver;
        }
        building.signatures.get(name).cloned().unwrap_or(of_driver)
    }

    /// `clSetProgramSpecializationConstant`: for the next build.
    ///
    /// # Errors
    /// `CL_INVALID_PROGRAM` for a program of another origin than an intermediate language, the driver's.
    pub fn specialize(&self, id: u32, value: &[u8]) -> CLResult<()> {
        if !matches!(self.origin, Origin::Il(_)) {
            return Err(CL_INVALID_PROGRAM);
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

    /// Calls `ask` with the driver's program whose binary the program may see: of what it can link, one as a plain driver makes
    /// it.
    pub fn with_binary<T>(&self, ask: impl FnOnce(*mut c_void) -> T) -> T {
        let steps: Vec<Step> = {
            let builds = &self.building().builds;
            builds.iter().map(|built| built.step.clone()).collect()
        };
        if self.building().as_asked.is_none() {
            let made = build::as_asked(self, &steps).unwrap_or_else(|code| {
                log::info!("an object is not made without argument info: error {code}");
                None
            });
            self.building().as_asked = made;
        }
        let building = self.building();
        ask(building
            .as_asked
            .as_ref()
            .map_or(self.real.get(), |plain| plain.0))
    }

    /// Remembers the link that made this program.
    pub fn linked(&self, step: Step) {
        let times = step.inputs().iter().map(|input| input.building().times);
        let times = times.collect();
        self.built(Vec::new(), step, Constants::new());
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
