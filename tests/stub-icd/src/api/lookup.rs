//! Finding functions by name.

use std::ffi::{CStr, c_char, c_void};

use super::platform::{clGetPlatformIDs, clGetPlatformInfo};
use crate::ffi::entry_points;

/// What an ICD loader asks for by name (`cl_khr_icd`), and the functions of the extensions.
///
/// # Safety
/// `name` is null or a C string.
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(name: *const c_char) -> *mut c_void {
    if name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: not null, so a C string by the caller's contract.
    match unsafe { CStr::from_ptr(name) }.to_bytes() {
        b"clIcdGetPlatformIDsKHR" => clGetPlatformIDs as *mut c_void,
        b"clGetKernelSuggestedLocalWorkSizeKHR" => {
            super::launch::clGetKernelSuggestedLocalWorkSizeKHR as *mut c_void
        }
        b"clGetPlatformInfo" => clGetPlatformInfo as *mut c_void,
        b"clIcdGetFunctionAddressForPlatformKHR" => {
            clIcdGetFunctionAddressForPlatformKHR as *mut c_void
        }
        b"clIcdSetPlatformDispatchDataKHR" => clIcdSetPlatformDispatchDataKHR as *mut c_void,
        name => {
            let all = [
                super::command_buffer::function,
                super::usm::function,
                super::semaphore::function,
            ];
            let mut found = all.iter().map(|function| function(name));
            found
                .find(|address| !address.is_null())
                .unwrap_or(std::ptr::null_mut())
        }
    }
}

/// # Safety
/// As `clGetExtensionFunctionAddress`.
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clGetExtensionFunctionAddressForPlatform(
    platform: *mut c_void,
    name: *const c_char,
) -> *mut c_void {
    if crate::handle::get::<crate::core::platform::Platform>(platform).is_err() {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's contract is the same.
    unsafe { clGetExtensionFunctionAddress(name) }
}

/// # Safety
/// As `clGetExtensionFunctionAddress`.
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clIcdGetFunctionAddressForPlatformKHR(
    platform: *mut c_void,
    name: *const c_char,
) -> *mut c_void {
    if crate::handle::get::<crate::core::platform::Platform>(platform).is_err() || name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: not null, so a C string by the caller's contract.
    let name = unsafe { CStr::from_ptr(name) };
    crate::table::address(&name.to_string_lossy())
}

entry_points! {
    fn clIcdSetPlatformDispatchDataKHR(platform: *mut c_void, data: *mut c_void) {
        crate::handle::get::<crate::core::platform::Platform>(platform)?;
        crate::handle::set_dispatch_data(data);
        Ok(())
    }
}
