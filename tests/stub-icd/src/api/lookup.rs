//! Finding functions by name.

use std::ffi::{CStr, c_char, c_void};

use super::{command_buffer, launch, platform, semaphore, usm};
use crate::call::entry_points;
use crate::core::platform::Platform;
use crate::{dispatch, handle};

macro_rules! functions {
    ($($module:ident { $($name:ident,)* })*) => {
        /// The function of this name; null if there is none.
        fn function(name: &str) -> *mut c_void {
            match name {
                "clIcdGetPlatformIDsKHR" => platform::clGetPlatformIDs as *mut c_void,
                $($(stringify!($name) => $module::$name as *mut c_void,)*)*
                _ => std::ptr::null_mut(),
            }
        }
    };
}

functions! {
    self {
        clIcdGetFunctionAddressForPlatformKHR,
        clIcdSetPlatformDispatchDataKHR,
    }
    platform {
        clGetPlatformInfo,
    }
    launch {
        clGetKernelSuggestedLocalWorkSizeKHR,
    }
    command_buffer {
        clCreateCommandBufferKHR,
        clFinalizeCommandBufferKHR,
        clRetainCommandBufferKHR,
        clReleaseCommandBufferKHR,
        clEnqueueCommandBufferKHR,
        clGetCommandBufferInfoKHR,
        clCommandBarrierWithWaitListKHR,
        clCommandCopyBufferKHR,
        clCommandFillBufferKHR,
        clCommandNDRangeKernelKHR,
    }
    usm {
        clHostMemAllocINTEL,
        clDeviceMemAllocINTEL,
        clSharedMemAllocINTEL,
        clMemFreeINTEL,
        clMemBlockingFreeINTEL,
        clGetMemAllocInfoINTEL,
        clSetKernelArgMemPointerINTEL,
        clSetKernelArgDevicePointerEXT,
        clEnqueueMemFillINTEL,
        clEnqueueMemcpyINTEL,
        clEnqueueMigrateMemINTEL,
        clEnqueueMemAdviseINTEL,
    }
    semaphore {
        clCreateSemaphoreWithPropertiesKHR,
        clRetainSemaphoreKHR,
        clReleaseSemaphoreKHR,
        clGetSemaphoreInfoKHR,
        clGetSemaphoreHandleForTypeKHR,
        clEnqueueWaitSemaphoresKHR,
        clEnqueueSignalSemaphoresKHR,
        clEnqueueAcquireExternalMemObjectsKHR,
        clEnqueueReleaseExternalMemObjectsKHR,
    }
}

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
    function(&unsafe { CStr::from_ptr(name) }.to_string_lossy())
}

/// # Safety
/// As `clGetExtensionFunctionAddress`.
#[allow(non_snake_case, reason = "the name is OpenCL's")]
pub unsafe extern "C" fn clGetExtensionFunctionAddressForPlatform(
    platform: *mut c_void,
    name: *const c_char,
) -> *mut c_void {
    if handle::get::<Platform>(platform).is_err() {
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
    if handle::get::<Platform>(platform).is_err() || name.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: not null, so a C string by the caller's contract.
    let name = unsafe { CStr::from_ptr(name) };
    dispatch::address(&name.to_string_lossy())
}

entry_points! {
    fn clIcdSetPlatformDispatchDataKHR(platform: *mut c_void, data: *mut c_void) {
        handle::get::<Platform>(platform)?;
        handle::set_dispatch_data(data);
        Ok(())
    }
}
