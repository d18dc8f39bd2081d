//! Calls to the driver's compiler and linker.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_BUILD_PROGRAM_FAILURE, CL_COMPILE_PROGRAM_FAILURE, CL_INVALID_OPERATION,
    CL_LINK_PROGRAM_FAILURE, CL_SUCCESS, cl_int,
};

use super::arg_info_option::{has_arg_info, with_arg_info};
use super::build_callback::{self, Notify};
use super::object::Step;
use crate::CLResult;
use crate::core::context::Context;
use crate::core::device::{Device, driver_handles};
use crate::driver::dispatch::{check, pointer, status, table_of};

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
pub(super) fn run(
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
    build_callback::call(is_notified, build).1
}

fn run_with(
    real: *mut c_void,
    devices: &[Arc<Device>],
    step: &Step,
    options: Option<&CString>,
    notify: Option<Notify>,
    user: *mut c_void,
) -> CLResult<()> {
    let list = driver_handles(devices);
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = pointer(&list);
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
pub(super) fn link_with(
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
    let list = driver_handles(devices);
    let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let list = pointer(&list);
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

/// Whether a build was made, well or not, rather than refused.
pub fn has_ended(answer: CLResult<()>) -> bool {
    const FAILURES: [cl_int; 3] = [
        CL_BUILD_PROGRAM_FAILURE,
        CL_COMPILE_PROGRAM_FAILURE,
        CL_LINK_PROGRAM_FAILURE,
    ];
    answer.map_or_else(|code| FAILURES.contains(&code), |()| true)
}
