//! What the dynamic linker sees: the symbols of an ICD (`cl_khr_icd`), the beginning, and the end.

use std::ffi::{c_char, c_void};

use opencl_sys::cl_int;

use crate::{api, dispatch, driver, table};

/// # Safety
/// As `clGetPlatformIDs`.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clIcdGetPlatformIDsKHR(
    num_entries: u32,
    platforms: *mut *mut c_void,
    num_platforms: *mut u32,
) -> cl_int {
    // SAFETY: the same contract.
    unsafe { api::platform::clGetPlatformIDs(num_entries, platforms, num_platforms) }
}

/// # Safety
/// As the function of the table.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clGetPlatformInfo(
    platform: *mut c_void,
    name: u32,
    size: usize,
    value: *mut c_void,
    size_ret: *mut usize,
) -> cl_int {
    // SAFETY: the same contract.
    unsafe { api::platform::clGetPlatformInfo(platform, name, size, value, size_ret) }
}

/// # Safety
/// As the function of the table.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(name: *const c_char) -> *mut c_void {
    // SAFETY: the same contract.
    unsafe { api::lookup::clGetExtensionFunctionAddress(name) }
}

/// Runs when the library has been mapped.
extern "C" fn load() {
    dispatch::set_build(table::build);
}

/// Runs before the library is unmapped, and at the process's exit.
extern "C" fn unload() {
    driver::unload();
}

// SAFETY: the section holds functions that the dynamic linker calls once each; this one ignores the arguments.
#[used]
#[unsafe(link_section = ".init_array")]
static LOAD: extern "C" fn() = load;

// SAFETY: the section holds functions without arguments, which the dynamic linker calls once each.
#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOAD: extern "C" fn() = unload;
