//! The extension functions that a program can get by name.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use opencl_sys::cl_platform_id;

use super::extension_names::shows_blocking;
use crate::core::{Caller, Device, Platform, handle, inventory};
use crate::driver::record::Prototypes;
use runtime::gate::Pass;
use runtime::start;

/// The functions of extensions that keep a program from being moved.
const BLOCKING_FUNCTIONS: [fn(&[u8]) -> *mut c_void; 4] = [
    super::usm::function,
    super::device_address::function,
    super::semaphore::function,
    super::external_memory::function,
];

/// The extension functions that a program may get; an address may be given where the platform lacks the extension
/// (the specification allows it), and the function then says so. Never a driver's own: it would take driver's handles. The
/// driver of `devices` decides between functions of one name.
fn function(name: &[u8], devices: impl IntoIterator<Item = Arc<Device>>) -> *mut c_void {
    match name {
        // cl_khr_icd
        b"clIcdGetPlatformIDsKHR" => super::platform::clGetPlatformIDs as *mut c_void,
        // ocl-icd's own, of the loader
        b"clGetICDLoaderInfoOCLICD" => super::platform::clGetICDLoaderInfoOCLICD as *mut c_void,
        // cl_khr_il_program
        b"clCreateProgramWithILKHR" => super::program::clCreateProgramWithIL as *mut c_void,
        // cl_khr_subgroups
        b"clGetKernelSubGroupInfoKHR" => super::kernel_info::clGetKernelSubGroupInfo as *mut c_void,
        // cl_khr_suggested_local_work_size
        b"clGetKernelSuggestedLocalWorkSizeKHR" => {
            super::kernel_info::clGetKernelSuggestedLocalWorkSize as *mut c_void
        }
        name => {
            let mut blocking = BLOCKING_FUNCTIONS.iter().map(|function| function(name));
            if let Some(address) = blocking.find(|address| !address.is_null()) {
                return if shows_blocking() {
                    address
                } else {
                    std::ptr::null_mut()
                };
            }
            super::command_buffer::function(name, || {
                let mut devices = devices.into_iter();
                let known = devices.find_map(|device| Prototypes::of_device(device.real.get()));
                known.unwrap_or(Prototypes::WithProperties)
            })
        }
    }
}

fn named(
    caller: &Caller,
    name: *const c_char,
    devices: impl IntoIterator<Item = Arc<Device>>,
) -> *mut c_void {
    let Some(name) = caller.text(name) else {
        return std::ptr::null_mut();
    };
    let address = function(name.as_bytes(), devices);
    if address.is_null() {
        log::info!("extension function {name:?} is not offered");
    }
    address
}

/// # Safety
/// As the OpenCL specification says of the parameter.
#[allow(non_snake_case)]
pub unsafe extern "C" fn clGetExtensionFunctionAddress(name: *const c_char) -> *mut c_void {
    // SAFETY: the pointer used through it is this call's argument.
    let caller = unsafe { Caller::new() };
    let Some(_inside) = start::enter(Pass::Normal) else {
        return std::ptr::null_mut();
    };
    let platforms = inventory::known_platforms().iter();
    named(
        &caller,
        name,
        platforms.flat_map(|platform| inventory::root_devices(platform)),
    )
}

/// # Safety
/// As the OpenCL specification says of the parameters.
#[allow(non_snake_case)]
pub unsafe extern "C" fn clGetExtensionFunctionAddressForPlatform(
    platform: cl_platform_id,
    name: *const c_char,
) -> *mut c_void {
    // SAFETY: the pointers used through it are this call's arguments.
    let caller = unsafe { Caller::new() };
    let Some(_inside) = start::enter(Pass::Normal) else {
        return std::ptr::null_mut();
    };
    match handle::borrow::<Platform>(&caller, platform) {
        Ok(platform) => named(&caller, name, inventory::root_devices(platform)),
        Err(_) => std::ptr::null_mut(),
    }
}
