//! Querying platform info.

use opencl_sys::{
    CL_INVALID_VALUE, CL_PLATFORM_EXTENSIONS, CL_PLATFORM_EXTENSIONS_WITH_VERSION,
    CL_PLATFORM_NOT_FOUND_KHR, cl_platform_id, cl_platform_info,
};

use super::entry::entry;
use super::extension_names;
use crate::core::{Object, Platform, handle, inventory};
use crate::driver::dispatch::ask;
use crate::driver::query;

/// `cl_icdl_info` of ocl-icd's `ocl_icd.h`: OpenCL version, version, name, vendor.
const LOADER_INFO: [&str; 4] = [
    "OpenCL 3.0",
    env!("CARGO_PKG_VERSION"),
    "xl-gpu shadow",
    "xl-gpu",
];

entry! {
    fn clGetPlatformIDs(caller, entries: u32, platforms: *mut cl_platform_id, count: *mut u32) -> status {
        let handles: Vec<_> = inventory::platforms().iter().map(|platform| platform.slot().handle()).collect();
        caller.give_some(&handles, entries, platforms, count)?;
        if handles.is_empty() { Err(CL_PLATFORM_NOT_FOUND_KHR) } else { Ok(()) }
    }

    fn clGetPlatformInfo(caller, answer, platform: cl_platform_id, parameter: cl_platform_info) -> info {
        // "platform can be NULL": what that means is up to us, and the first one is what programs expect.
        let default = inventory::platforms().first().filter(|_| platform.is_null());
        let platform = match default {
            Some(first) => first,
            None => handle::borrow::<Platform>(caller, platform)?,
        };
        let real = platform.real.get();
        let ask: query::Ask<'_> = ask!(real, clGetPlatformInfo(real, parameter));
        match parameter {
            CL_PLATFORM_EXTENSIONS => {
                let device = inventory::root_devices(platform).first().map_or(std::ptr::null_mut(), |device| device.real.get());
                answer.text(&extension_names::filter_names(&query::bytes(ask)?, device))
            }
            CL_PLATFORM_EXTENSIONS_WITH_VERSION => answer.bytes(&extension_names::filter_versions(&query::bytes(ask)?)),
            _ => answer.driver(ask),
        }
    }

    /// ocl-icd's extension, so that `clinfo` shows what stands in the loader's place.
    fn clGetICDLoaderInfoOCLICD(caller, answer, parameter: u32) -> info {
        let at = (parameter as usize).checked_sub(1).ok_or(CL_INVALID_VALUE)?;
        answer.text(LOADER_INFO.get(at).ok_or(CL_INVALID_VALUE)?.as_bytes())
    }
}
