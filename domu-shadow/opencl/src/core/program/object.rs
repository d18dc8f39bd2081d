//! The program: where it came from and what was done with it.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use opencl_sys::{CL_BUILD_SUCCESS, CL_INVALID_PROGRAM};

use super::binaries::Binaries;
use super::build_info::{self, Outcome};
use super::driver_program::{DriverProgram, release};
use super::signature::Signature;
use crate::core::context::Context;
use crate::core::destructor_callbacks::DestructorCallbacks;
use crate::core::device::Device;
use crate::core::driver_handle::DriverHandle;
use crate::core::handle::{Object, Slot, object};
use crate::driver::dispatch::status;
use runtime::blocked::Hold;
use runtime::locks::lock;

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

    pub(super) fn inputs(&self) -> &[Arc<Program>] {
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

#[derive(Default)]
pub struct Building {
    /// In their order. Each device is in one at most: its last.
    pub builds: Vec<Built>,
    /// By device id: filled when the program is released for a move, cleared by the next build.
    pub outcomes: BTreeMap<u64, Outcome>,
    /// For the next build.
    pub constants: Constants,
    /// Of the last builds.
    pub(super) binaries: Binaries,
    /// The driver's program was loaded from those binaries: it cannot be built with other options, and may lack argument
    /// info.
    pub(super) is_substitute: bool,
    /// By kernel name: what the last build told, of which a binary may tell less.
    pub(super) signatures: BTreeMap<CString, Signature>,
    /// How often it was built.
    pub(super) times: u64,
    /// Of a linked program: how often each input had been.
    pub(super) inputs_times: Vec<u64>,
    /// See [`Program::binary_sizes`].
    pub sized_binaries: Option<Arc<Vec<Vec<u8>>>>,
    /// See [`Program::without_arg_info`].
    pub(super) without_arg_info: Option<DriverProgram>,
    pub(super) variables: Option<Hold>,
}

impl Building {
    /// A new build is for these devices: forgets what was known of older ones.
    pub(super) fn forget(&mut self, devices: &[Arc<Device>]) {
        for built in &mut self.builds {
            let is_other =
                |device: &Arc<Device>| !devices.iter().any(|one| Arc::ptr_eq(one, device));
            built.devices.retain(is_other);
        }
        self.builds.retain(|built| !built.devices.is_empty());
        for device in devices {
            self.outcomes.remove(&device.slot().id());
        }
        self.binaries.forget();
        self.signatures.clear();
        self.sized_binaries = None;
        self.without_arg_info = None;
        self.times += 1;
    }

    /// The last build for a device.
    pub fn of(&self, device: &Device) -> Option<&Built> {
        let is_for = |built: &&Built| built.devices.iter().any(|one| std::ptr::eq(&**one, device));
        self.builds.iter().find(is_for)
    }

    /// Whether a build succeeded for any of its devices, by the kept outcome or else by the driver's program.
    pub(super) fn succeeded(&self, built: &Built, real: *mut c_void) -> bool {
        built.devices.iter().any(|device| {
            let kept = self.outcomes.get(&device.slot().id());
            let status = kept.map(|outcome| outcome.status);
            status.unwrap_or_else(|| build_info::status(real, device)) == CL_BUILD_SUCCESS
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
    /// Held over a build, and while binaries are fetched: a build in between would change their sizes.
    at_driver: Mutex<()>,
    /// `clSetProgramReleaseCallback`.
    pub destructors: DestructorCallbacks,
    /// One that was replaced. Another thread may be using it, so it stays until the program goes.
    pub(super) replaced: DriverHandle,
}

object!(Program, CL_INVALID_PROGRAM);

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
            destructors: DestructorCallbacks::default(),
            replaced: DriverHandle::new(std::ptr::null_mut()),
        })
    }

    pub fn building(&self) -> MutexGuard<'_, Building> {
        lock(&self.building)
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
        lock(&self.at_driver)
    }

    /// Whether it was built with argument info behind the program's back, which must not see it.
    pub fn adds_arg_info(&self) -> bool {
        let building = self.building();
        building.builds.iter().any(|built| built.adds_arg_info)
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

    /// The link that made it, if one did.
    pub(super) fn made_by_link(&self) -> Option<Built> {
        let building = self.building();
        let mut builds = building.builds.iter();
        let link = builds.find(|built| matches!(built.step, Step::Link { .. }));
        link.cloned()
    }

    /// Whether no input of the link that made it was built again since.
    pub(super) fn is_as_linked(&self, link: &Step) -> bool {
        let times = self.building().inputs_times.clone();
        let mut both = link.inputs().iter().zip(times);
        both.all(|(input, times)| input.building().times == times)
    }

    /// One device's build info that was kept over a move.
    pub fn outcome(&self, device: &Device) -> Option<Outcome> {
        self.building().outcomes.get(&device.slot().id()).cloned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(replaced) = self.replaced.take() {
            release(replaced);
        }
        let callbacks = self.destructors.take(self.slot.handle());
        match self.real.take() {
            Some(real) => callbacks.call_when_gone(
                |call, user| status!(real, clSetProgramReleaseCallback(real, Some(call), user)),
                || release(real),
            ),
            None => callbacks.call(),
        }
    }
}
