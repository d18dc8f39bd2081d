//! Building, compiling and linking with the driver.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_BUILD_PROGRAM_FAILURE, CL_COMPILE_PROGRAM_FAILURE, CL_INVALID_OPERATION, CL_INVALID_PROGRAM,
    CL_LINK_PROGRAM_FAILURE, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, CL_SUCCESS, cl_int,
};

use super::context::Context;
use super::device::Device;
use super::notified::{self, Notify};
use super::plain;
use super::program::{self, Step};
use crate::CLResult;
use crate::driver::dispatch::{check, status, table_of};
use crate::driver::query;

/// Asks for the info that tells buffers from numbers; added behind the program's back.
const ARG_INFO_OPTION: &[u8] = b"-cl-kernel-arg-info";

/// The driver's handles of some devices.
pub fn reals(devices: &[Arc<Device>]) -> Vec<*mut c_void> {
    devices.iter().map(|device| device.real.get()).collect()
}

/// Whether options ask for argument info.
pub fn has_arg_info(options: Option<&CString>) -> bool {
    options.is_some_and(|options| {
        let mut each = options.as_bytes().split(u8::is_ascii_whitespace);
        each.any(|option| option == ARG_INFO_OPTION)
    })
}

/// The program's options behind ours, which so becomes no part of one that was left unfinished.
fn with_arg_info(options: Option<&CString>) -> CString {
    let mut all = ARG_INFO_OPTION.to_vec();
    if let Some(options) = options {
        all.push(b' ');
        all.extend_from_slice(options.as_bytes());
    }
    CString::new(all).unwrap_or_default()
}

/// A build log as the program would have it: some drivers (Intel's) name the options there.
pub fn without_our_option(mut log: Vec<u8>) -> Vec<u8> {
    let length = ARG_INFO_OPTION.len();
    let mut all = log.windows(length);
    if let Some(at) = all.position(|part| part == ARG_INFO_OPTION) {
        let end = at + length;
        let space = usize::from(log.get(end) == Some(&b' '));
        log.drain(at..end + space);
    }
    log
}

/// What came of a build or link.
pub struct Made {
    pub answer: CLResult<()>,
    /// It has argument info that the program did not ask for.
    pub adds_arg_info: bool,
}

/// Builds or compiles, with argument info behind the program's back if `add_arg_info`; with a callback to the driver if the
/// program gave one.
///
/// # Errors
/// The driver's.
pub fn run(
    real: *mut c_void,
    add_arg_info: bool,
    devices: &[Arc<Device>],
    step: &Step,
    is_notified: bool,
) -> CLResult<()> {
    let options = step.options();
    let with_ours = (add_arg_info && !has_arg_info(options)).then(|| with_arg_info(options));
    let options = with_ours.as_ref().or(options);
    let build = |notify, user| ((), run_with(real, devices, step, options, notify, user));
    notified::call(is_notified, build).1
}

fn run_with(
    real: *mut c_void,
    devices: &[Arc<Device>],
    step: &Step,
    options: Option<&CString>,
    notify: Option<Notify>,
    user: *mut c_void,
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
                clBuildProgram(real, count, list, options, notify, user)
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
                    real, count, list, options, number, programs, names, notify, user
                )
            )
        }
        Step::Link { .. } => Ok(()),
    }
}

/// Links with the driver. The program may be there after a failure too, with its log; null if it is not.
///
/// NVIDIA's linker (CUDA 13.0) refuses what was compiled with argument info if a kernel in it has no arguments. Where it
/// was us who asked for that info, what cannot be linked is linked of inputs compiled without, and its kernels have none.
/// `add_arg_info` is false for a link that was made so before.
pub fn link(
    context: &Context,
    devices: &[Arc<Device>],
    step: &Step,
    add_arg_info: bool,
    is_notified: bool,
) -> (*mut c_void, Made) {
    let refused = |answer| Made {
        answer,
        adds_arg_info: false,
    };
    let Step::Link { options, inputs } = step else {
        return (std::ptr::null_mut(), refused(Err(CL_INVALID_PROGRAM)));
    };
    let link_of = |programs: &[_], is_notified| {
        notified::call(is_notified, |notify, user| {
            link_with(context, devices, options.as_ref(), programs, notify, user)
        })
    };
    let as_made: Vec<_> = inputs.iter().map(|program| program.real.get()).collect();
    let adds = add_arg_info && plain::add_arg_info(inputs);
    if adds {
        let (linked, answer) = link_of(&as_made, false);
        if answer.is_ok() {
            let made = Made {
                answer,
                adds_arg_info: true,
            };
            return (linked, made);
        }
        if !linked.is_null() {
            program::release(linked);
        }
    }
    let plain = plain::of_each(inputs).ok().flatten();
    let given = plain.as_ref().map(|plain| plain::replaced(inputs, plain));
    let (linked, answer) = link_of(&given.unwrap_or(as_made), is_notified);
    (linked, refused(answer))
}

pub fn link_with(
    context: &Context,
    devices: &[Arc<Device>],
    options: Option<&CString>,
    programs: &[*mut c_void],
    notify: Option<Notify>,
    user: *mut c_void,
) -> (*mut c_void, CLResult<()>) {
    let real = context.real.get();
    let Some(link) = table_of(real).clLinkProgram else {
        return (std::ptr::null_mut(), Err(CL_INVALID_OPERATION));
    };
    let list = reals(devices);
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = if list.is_empty() {
        std::ptr::null()
    } else {
        list.as_ptr()
    };
    let number = u32::try_from(programs.len()).unwrap_or(u32::MAX);
    let programs = programs.as_ptr();
    let options = options.map_or(std::ptr::null(), |options| options.as_ptr());
    let mut code = CL_SUCCESS;
    // SAFETY: the handles are the driver's own and live; the lists and `code` outlive the call.
    let linked = unsafe {
        link(
            real,
            count,
            list,
            options,
            number,
            programs,
            notify,
            user,
            &raw mut code,
        )
    };
    (linked, check(code))
}

/// Bytes of variables at program scope, of the device that has most.
pub fn variables(real: *mut c_void, devices: &[Arc<Device>]) -> u64 {
    let of_one = |device: &Arc<Device>| {
        let device = device.real.get();
        query::number(&|size, value, size_ret| {
            status!(
                real,
                clGetProgramBuildInfo(
                    real,
                    device,
                    CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
                    size,
                    value,
                    size_ret
                )
            )
        })
    };
    // Drivers of before OpenCL 2.0 have none, and an error for the question.
    devices.iter().flat_map(of_one).max().unwrap_or(0)
}

/// Whether a build was made, well or not, rather than refused.
pub fn has_ended(answer: CLResult<()>) -> bool {
    const FAILURES: [cl_int; 3] = [
        CL_BUILD_PROGRAM_FAILURE,
        CL_COMPILE_PROGRAM_FAILURE,
        CL_LINK_PROGRAM_FAILURE,
    ];
    answer.map_or_else(|code| FAILURES.contains(&code), |()| true)
}
