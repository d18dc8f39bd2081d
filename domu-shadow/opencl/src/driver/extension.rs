//! Drivers' functions that are found by name, because an older driver has them only as an extension.

use std::ffi::{CStr, c_void};

use opencl_sys::{
    CL_DEVICE_PLATFORM, CL_INVALID_OPERATION, CL_OUT_OF_HOST_MEMORY, CL_SUCCESS, cl_int,
};

use super::dispatch::{check, table_of};
use super::query;
use crate::CLResult;

type CreateProgramWithIl =
    unsafe extern "C" fn(*mut c_void, *const c_void, usize, *mut cl_int) -> *mut c_void;
type SuggestLocalSize = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    u32,
    *const usize,
    *const usize,
    *mut usize,
) -> cl_int;

/// The function of this name that a device's driver has, null if it has none.
pub(super) fn find_of_device(device: *mut c_void, name: &CStr) -> *mut c_void {
    // After a move to another vendor's driver, what is kept of the platform may be the first one's.
    let platform = query::device_number(device, CL_DEVICE_PLATFORM).unwrap_or_default();
    let platform = std::ptr::with_exposed_provenance_mut(platform as usize);
    find(platform, name).unwrap_or(std::ptr::null_mut())
}

fn find(platform: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    let find = table_of(platform).clGetExtensionFunctionAddressForPlatform?;
    // SAFETY: the platform is the driver's own, and the name a C string.
    let address = unsafe { find(platform, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// `clCreateProgramWithIL`, by `cl_khr_il_program` where the driver is older than OpenCL 2.1.
///
/// # Errors
/// The driver's; `CL_INVALID_OPERATION` where it has neither.
pub fn create_program_with_il(
    platform: *mut c_void,
    context: *mut c_void,
    il: &[u8],
) -> CLResult<*mut c_void> {
    let create: CreateProgramWithIl = match table_of(context).clCreateProgramWithIL {
        Some(create) => create,
        None => {
            let create = find(platform, c"clCreateProgramWithILKHR").ok_or(CL_INVALID_OPERATION)?;
            // SAFETY: `cl_khr_il_program` gives the function of that name this prototype.
            unsafe { std::mem::transmute::<*mut c_void, CreateProgramWithIl>(create) }
        }
    };
    let mut code = CL_SUCCESS;
    // SAFETY: the context is the driver's own and live; `il` and `code` outlive the call.
    let program = unsafe { create(context, il.as_ptr().cast(), il.len(), &raw mut code) };
    check(code)?;
    if program.is_null() {
        Err(CL_OUT_OF_HOST_MEMORY)
    } else {
        Ok(program)
    }
}

/// `clGetKernelSuggestedLocalWorkSizeKHR` of `cl_khr_suggested_local_work_size`. The pointers are the program's.
///
/// # Errors
/// The driver's; `CL_INVALID_OPERATION` where it has none.
pub fn suggest_local_size(
    platform: *mut c_void,
    queue: *mut c_void,
    kernel: *mut c_void,
    dimensions: u32,
    sizes: [*const usize; 2],
    suggested: *mut usize,
) -> CLResult<()> {
    let suggest =
        find(platform, c"clGetKernelSuggestedLocalWorkSizeKHR").ok_or(CL_INVALID_OPERATION)?;
    // SAFETY: `cl_khr_suggested_local_work_size` gives the function of that name this prototype.
    let suggest = unsafe { std::mem::transmute::<*mut c_void, SuggestLocalSize>(suggest) };
    let [offset, global] = sizes;
    // SAFETY: the handles are the driver's own and live; the pointers are the program's, as the extension wants them.
    check(unsafe { suggest(queue, kernel, dimensions, offset, global, suggested) })
}
