//! Building, compiling and linking with the driver.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_BUILD_PROGRAM_FAILURE, CL_COMPILE_PROGRAM_FAILURE, CL_INVALID_BUILD_OPTIONS,
    CL_INVALID_COMPILER_OPTIONS, CL_INVALID_OPERATION, CL_INVALID_PROGRAM, CL_LINK_PROGRAM_FAILURE,
    CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, CL_SUCCESS, cl_int,
};

use super::CLResult;
use super::context::Context;
use super::device::Device;
use super::program::{self, Program, Step};
use crate::driver::dispatch::{check, status, table_of};
use crate::driver::query;

/// Asks for the info that tells buffers from numbers; added behind the program's back.
const ARG_INFO_OPTION: &[u8] = b"-cl-kernel-arg-info";

/// The driver's handles of some devices.
pub fn reals(devices: &[Arc<Device>]) -> Vec<*mut c_void> {
    devices.iter().map(|device| device.real.get()).collect()
}

pub fn has_arg_info(options: &[u8]) -> bool {
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

/// Builds or compiles, with argument info asked for behind the program's back if `ask_arg_info`.
///
/// # Errors
/// The driver's.
pub fn run(
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
        Err(CL_INVALID_BUILD_OPTIONS | CL_INVALID_COMPILER_OPTIONS) => {
            run_with(real, devices, step, plain.as_ref())
        }
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

/// Links with the driver. The program may be there after a failure too, with its log; null if it is not.
///
/// NVIDIA's linker (CUDA 13.0) refuses what was compiled with argument info if a kernel in it has no arguments. Where it
/// was us who asked for that info, such a link is made once more of inputs compiled without; the new program's kernels
/// then have none. Objects and libraries reach the program itself without ([`as_asked`]).
pub fn link(
    context: &Context,
    devices: &[Arc<Device>],
    step: &Step,
) -> (*mut c_void, CLResult<()>) {
    let Step::Link { options, inputs } = step else {
        return (std::ptr::null_mut(), Err(CL_INVALID_PROGRAM));
    };
    let as_made = inputs.iter().map(|program| program.real.get());
    let as_made: Vec<_> = as_made.collect();
    let options = options.as_ref();
    let (linked, answer) = link_with(context, devices, options, &as_made);
    if answer != Err(CL_LINK_PROGRAM_FAILURE) {
        return (linked, answer);
    }
    let Ok(Some(plain)) = without_arg_info(inputs) else {
        return (linked, answer);
    };
    let as_given = replaced(inputs, &plain);
    let again = link_with(context, devices, options, &as_given);
    let (kept, dropped) = match again.1 {
        Ok(()) => (again, linked),
        Err(_) => ((linked, answer), again.0),
    };
    if !dropped.is_null() {
        program::release(dropped);
    }
    kept
}

/// A driver's program that is released when dropped.
pub struct Plain(pub *mut c_void);

// SAFETY: a handle, which any thread may use.
unsafe impl Send for Plain {}

impl Drop for Plain {
    fn drop(&mut self) {
        program::release(self.0);
    }
}

/// Those inputs made once more that have argument info behind the program's back; `None` where none has.
fn without_arg_info(inputs: &[Arc<Program>]) -> CLResult<Option<Vec<Option<Plain>>>> {
    let plain = inputs.iter().map(|input| one_without_arg_info(input));
    let plain: Vec<_> = plain.collect::<CLResult<_>>()?;
    Ok(plain.iter().any(Option::is_some).then_some(plain))
}

fn one_without_arg_info(input: &Program) -> CLResult<Option<Plain>> {
    let Some(link) = input.made_by_link() else {
        return Ok(input.without_arg_info()?.map(Plain));
    };
    // A library.
    let Step::Link { options, inputs } = &link.step else {
        return Ok(None);
    };
    if !input.is_as_linked(&link.step) {
        return Ok(None); // another build of its inputs is not what is in it
    }
    let Some(plain) = without_arg_info(inputs)? else {
        return Ok(None);
    };
    let parts = replaced(inputs, &plain);
    let (real, answer) = link_with(&input.context, &link.devices, options.as_ref(), &parts);
    let made = (!real.is_null()).then(|| Plain(real));
    answer.map(|()| made)
}

/// An object or a library made once more as the program asked for it, without what we added: its binary is what a plain
/// driver gives, and good for linking when it is loaded. `None` where the driver's is just that.
///
/// # Errors
/// The driver's.
pub fn as_asked(program: &Program, steps: &[Step]) -> CLResult<Option<Plain>> {
    match steps.iter().any(Step::is_for_linking) {
        true => one_without_arg_info(program),
        false => Ok(None),
    }
}

/// The driver's programs, with what was made once more instead of the original.
fn replaced(inputs: &[Arc<Program>], plain: &[Option<Plain>]) -> Vec<*mut c_void> {
    let pairs = inputs.iter().zip(plain);
    let real = |(input, plain): (&Arc<Program>, &Option<Plain>)| {
        plain.as_ref().map_or(input.real.get(), |plain| plain.0)
    };
    pairs.map(real).collect()
}

fn link_with(
    context: &Context,
    devices: &[Arc<Device>],
    options: Option<&CString>,
    programs: &[*mut c_void],
) -> (*mut c_void, CLResult<()>) {
    let real = context.real.get();
    let none = std::ptr::null_mut();
    let Some(link) = table_of(real).clLinkProgram else {
        return (none, Err(CL_INVALID_OPERATION));
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
            None,
            none,
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
