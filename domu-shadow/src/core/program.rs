//! Programs: where they came from, what was done with them, and how to make them again.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opencl_sys::{
    CL_BUILD_NONE, CL_BUILD_SUCCESS, CL_DRIVER_VERSION, CL_INVALID_BUILD_OPTIONS,
    CL_INVALID_PROGRAM, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES, CL_PROGRAM_BUILD_LOG,
    CL_PROGRAM_BUILD_STATUS, cl_int,
};

use super::CLResult;
use super::context::Context;
use super::device::Device;
use super::handle::{Kind, Object, Slot};
use super::real::Real;
use crate::driver::dispatch::{create, status};
use crate::driver::query;

/// Asks for the info that tells buffers from numbers; added behind the program's back.
const ARG_INFO_OPTION: &[u8] = b"-cl-kernel-arg-info";

/// How the program came to be.
pub enum Origin {
    Source(Vec<u8>),
    /// One per device.
    Binary(Vec<Vec<u8>>),
    /// `clLinkProgram`: made by the link itself.
    Linked,
}

/// The last thing done to build it.
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
}

/// What the driver said about a build, kept over a move.
#[derive(Clone)]
pub struct Outcome {
    pub status: cl_int,
    pub log: Vec<u8>,
}

#[derive(Default)]
pub struct Building {
    /// Devices it was last built for, and how.
    pub last: Option<(Vec<Arc<Device>>, Step)>,
    /// By device id: filled when the program is released for a move, cleared by the next build.
    pub kept: BTreeMap<u64, Outcome>,
    /// By device id: binaries with the driver that made them (device name, driver version).
    binaries: BTreeMap<u64, (String, Vec<u8>)>,
}

pub struct Program {
    slot: Slot<Program>,
    pub real: Real,
    pub context: Arc<Context>,
    pub devices: Vec<Arc<Device>>,
    pub origin: Origin,
    building: Mutex<Building>,
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
        })
    }

    pub fn building(&self) -> MutexGuard<'_, Building> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the program may see argument info: it asked for it, or it brought a binary (where we did not ask).
    pub fn shows_arg_info(&self) -> bool {
        if !matches!(self.origin, Origin::Source(_)) {
            return true;
        }
        let building = self.building();
        let options = building.last.as_ref().and_then(|(_, step)| step.options());
        options.is_some_and(|options| has_arg_info(options.as_bytes()))
    }

    /// Builds or compiles for `devices`, and remembers how. A linked program was built by its link.
    ///
    /// # Errors
    /// The driver's; a failed build is remembered as well.
    pub fn build(&self, devices: Vec<Arc<Device>>, step: Step) -> CLResult<()> {
        let real = self.real.get();
        let answer = run(
            real,
            matches!(self.origin, Origin::Source(_)),
            &devices,
            &step,
        );
        let mut building = self.building();
        building.kept.clear();
        building.binaries.clear();
        building.last = Some((devices, step));
        answer
    }

    /// Remembers the link that made this program.
    pub fn linked(&self, step: Step) {
        self.building().last = Some((self.devices.clone(), step));
    }

    /// One device's build info that was kept over a move.
    pub fn kept(&self, device: &Device) -> Option<Outcome> {
        self.building().kept.get(&device.slot().id()).cloned()
    }

    /// Before a move: keeps logs, status and binaries, and releases the driver's program.
    pub fn unmake(&self) {
        let Some(real) = self.real.take() else { return };
        let binaries = binaries(real, &self.devices);
        let mut building = self.building();
        for device in &self.devices {
            // What was kept at an earlier move is what the program's own build said.
            let kept = building.kept.entry(device.slot().id());
            kept.or_insert_with(|| outcome(real, device));
        }
        building.binaries = binaries;
        drop(building);
        release(real);
    }

    /// Makes the driver's program again: from binaries where device and driver are the same, else as the program did.
    ///
    /// # Errors
    /// The driver's.
    pub fn make(&self) -> CLResult<()> {
        let (last, succeeded, binaries) = {
            let building = self.building();
            let succeeded = building
                .kept
                .values()
                .any(|outcome| outcome.status == CL_BUILD_SUCCESS);
            (
                building.last.clone(),
                succeeded,
                self.usable_binaries(&building),
            )
        };
        if succeeded && let Some(binaries) = binaries {
            match self.make_from(&binaries, last.as_ref()) {
                Ok(()) => return Ok(()),
                Err(code) => log::info!(
                    "a program's binary was refused (error {code}): building it from source"
                ),
            }
        }
        match &self.origin {
            Origin::Source(source) => {
                let context = self.context.real.get();
                let mut text = source.as_ptr().cast();
                let length = source.len();
                self.real.set(create!(
                    context,
                    clCreateProgramWithSource(context, 1, &raw mut text, &raw const length)
                )?);
            }
            Origin::Binary(binaries) => self.real.set(self.load(binaries)?),
            Origin::Linked => {
                let (devices, step) = last.ok_or(CL_INVALID_PROGRAM)?;
                self.real.set(link(&self.context, &devices, &step)?);
                return Ok(());
            }
        }
        match last {
            Some((devices, step)) if succeeded => run(
                self.real.get(),
                matches!(self.origin, Origin::Source(_)),
                &devices,
                &step,
            ),
            _ => Ok(()),
        }
    }

    fn make_from(
        &self,
        binaries: &[Vec<u8>],
        last: Option<&(Vec<Arc<Device>>, Step)>,
    ) -> CLResult<()> {
        let real = self.load(binaries)?;
        let answer = match last {
            // Compiled objects and libraries are complete as loaded; executables need the build call.
            Some((_, Step::Compile { .. })) => Ok(()),
            Some((devices, Step::Build { options })) => run(
                real,
                false,
                devices,
                &Step::Build {
                    options: options.clone(),
                },
            ),
            Some((devices, Step::Link { .. })) => {
                run(real, false, devices, &Step::Build { options: None })
            }
            None => Ok(()),
        };
        match answer {
            Ok(()) => self.real.set(real),
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

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(real) = self.real.take() {
            release(real);
        }
    }
}

fn release(real: *mut c_void) {
    if let Err(code) = status!(real, clReleaseProgram(real)) {
        log::warn!("a driver refused to release a program: error {code}");
    }
}

/// The driver's handles of some devices.
pub fn reals(devices: &[Arc<Device>]) -> Vec<*mut c_void> {
    devices.iter().map(|device| device.real.get()).collect()
}

fn has_arg_info(options: &[u8]) -> bool {
    options
        .windows(ARG_INFO_OPTION.len())
        .any(|part| part == ARG_INFO_OPTION)
}

/// The program's options with ours behind them.
fn with_arg_info(options: Option<&CString>) -> CString {
    let mut all = options.map_or_else(Vec::new, |options| options.as_bytes().to_vec());
    if !has_arg_info(&all) {
        if !all.is_empty() {
            all.push(b' ');
        }
        all.extend_from_slice(ARG_INFO_OPTION);
    }
    CString::new(all).unwrap_or_default()
}

fn run(
    real: *mut c_void,
    ask_arg_info: bool,
    devices: &[Arc<Device>],
    step: &Step,
) -> CLResult<()> {
    let plain = step.options().cloned();
    if !ask_arg_info {
        return run_with(real, devices, step, plain.as_ref());
    }
    match run_with(real, devices, step, Some(&with_arg_info(plain.as_ref()))) {
        // A driver of before OpenCL 1.2 does not know the option.
        Err(CL_INVALID_BUILD_OPTIONS) => run_with(real, devices, step, plain.as_ref()),
        answer => answer,
    }
}

fn run_with(
    real: *mut c_void,
    devices: &[Arc<Device>],
    step: &Step,
    options: Option<&CString>,
) -> CLResult<()> {
    let list = reals(devices);
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = if list.is_empty() {
        std::ptr::null()
    } else {
        list.as_ptr()
    };
    let options = options.map_or(std::ptr::null(), |options| options.as_ptr());
    match step {
        Step::Build { .. } => {
            status!(
                real,
                clBuildProgram(real, count, list, options, None, std::ptr::null_mut())
            )
        }
        Step::Compile { headers, .. } => {
            let programs: Vec<*mut c_void> = headers
                .iter()
                .map(|(_, program)| program.real.get())
                .collect();
            let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_ptr()).collect();
            let number = u32::try_from(headers.len()).unwrap_or(u32::MAX);
            let (programs, names) = if headers.is_empty() {
                (std::ptr::null(), std::ptr::null_mut())
            } else {
                (programs.as_ptr(), names.as_mut_ptr())
            };
            status!(
                real,
                clCompileProgram(
                    real,
                    count,
                    list,
                    options,
                    number,
                    programs,
                    names,
                    None,
                    std::ptr::null_mut()
                )
            )
        }
        Step::Link { .. } => Ok(()),
    }
}

/// Links with the driver; the new program is its.
///
/// # Errors
/// The driver's.
pub fn link(context: &Context, devices: &[Arc<Device>], step: &Step) -> CLResult<*mut c_void> {
    let Step::Link { options, inputs } = step else {
        return Err(CL_INVALID_PROGRAM);
    };
    let real = context.real.get();
    let list = reals(devices);
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = if list.is_empty() {
        std::ptr::null()
    } else {
        list.as_ptr()
    };
    let programs: Vec<*mut c_void> = inputs.iter().map(|program| program.real.get()).collect();
    let number = u32::try_from(programs.len()).unwrap_or(u32::MAX);
    let options = options
        .as_ref()
        .map_or(std::ptr::null(), |options| options.as_ptr());
    create!(
        real,
        clLinkProgram(
            real,
            count,
            list,
            options,
            number,
            programs.as_ptr(),
            None,
            std::ptr::null_mut()
        )
    )
}

fn outcome(real: *mut c_void, device: &Device) -> Outcome {
    let device = device.real.get();
    let ask = |parameter: u32| {
        query::bytes(&|size, value, size_ret| {
            status!(
                real,
                clGetProgramBuildInfo(real, device, parameter, size, value, size_ret)
            )
        })
        .unwrap_or_default()
    };
    let status = ask(CL_PROGRAM_BUILD_STATUS);
    Outcome {
        status: status
            .first_chunk()
            .map_or(CL_BUILD_NONE, |bytes| cl_int::from_ne_bytes(*bytes)),
        log: ask(CL_PROGRAM_BUILD_LOG),
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

fn binaries(real: *mut c_void, devices: &[Arc<Device>]) -> BTreeMap<u64, (String, Vec<u8>)> {
    let sizes = query::bytes(&|size, value, size_ret| {
        status!(
            real,
            clGetProgramInfo(real, CL_PROGRAM_BINARY_SIZES, size, value, size_ret)
        )
    })
    .unwrap_or_default();
    let sizes = sizes
        .chunks_exact(8)
        .map(|size| usize::from_ne_bytes(size.try_into().expect("a chunk of 8")));
    let mut blobs: Vec<Vec<u8>> = sizes.map(|size| vec![0; size]).collect();
    if blobs.len() != devices.len() || blobs.iter().any(Vec::is_empty) {
        return BTreeMap::new();
    }
    let mut pointers: Vec<*mut u8> = blobs.iter_mut().map(|blob| blob.as_mut_ptr()).collect();
    let bytes = pointers.len() * size_of::<*mut u8>();
    let answer = status!(
        real,
        clGetProgramInfo(
            real,
            CL_PROGRAM_BINARIES,
            bytes,
            pointers.as_mut_ptr().cast(),
            std::ptr::null_mut()
        )
    );
    if answer.is_err() {
        return BTreeMap::new();
    }
    devices
        .iter()
        .zip(blobs)
        .map(|(device, blob)| (device.slot().id(), (driver_of(device), blob)))
        .collect()
}
