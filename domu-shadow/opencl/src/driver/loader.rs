//! Asking the vendors' libraries for their platforms (`cl_khr_icd`, 1.0 and 2.0).

use std::ffi::{CStr, OsStr, c_char, c_void};

use libloading::os::unix::Library;
use opencl_sys::cl_int;
use runtime::vendor::loaded;

use super::{discover, icd2, query};

type GetExtension = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type GetPlatforms = unsafe extern "C" fn(u32, *mut *mut c_void, *mut u32) -> cl_int;

/// What a vendor's library is asked through.
struct Driver {
    get_platforms: GetPlatforms,
    /// Of a driver that leaves dispatching to the loader.
    managed: Option<icd2::Managed>,
}

/// A library that is no OpenCL driver.
#[derive(Debug, thiserror::Error)]
enum NoDriver {
    #[error(transparent)]
    Symbol(#[from] libloading::Error),
    #[error("has no clIcdGetPlatformIDsKHR")]
    Function,
}

/// Opens every vendor's library that is not open yet, and returns the platforms of all, in the vendors' order.
/// A library that cannot be opened or has no platform is logged and left out, as ICD loaders do.
pub fn platforms() -> Vec<*mut c_void> {
    let is_driver = |library: &Library| Driver::find(library).map(drop);
    loaded::load(discover::libraries(), is_driver, |vendors| {
        let drivers = vendors.iter().filter_map(|vendor| {
            let driver = Driver::find(&vendor.library).ok()?;
            Some(driver.platforms(&vendor.name))
        });
        drivers.flatten().collect()
    })
}

impl Driver {
    fn find(library: &Library) -> Result<Driver, NoDriver> {
        // SAFETY: `cl_khr_icd` gives this symbol this prototype.
        let get_extension =
            unsafe { library.get::<GetExtension>(b"clGetExtensionFunctionAddress\0") }?;
        // SAFETY: the argument is a C string; the answer is a function or null.
        let find = |name: &CStr| unsafe { get_extension(name.as_ptr()) };
        let address = find(c"clIcdGetPlatformIDsKHR");
        if address.is_null() {
            return Err(NoDriver::Function);
        }
        // SAFETY: `cl_khr_icd` gives the function of that name this prototype; it lives as long as the library.
        let get_platforms = unsafe { std::mem::transmute::<*mut c_void, GetPlatforms>(address) };
        let managed = icd2::Managed::find(find);
        Ok(Driver {
            get_platforms,
            managed,
        })
    }
}

impl Driver {
    fn platforms(&self, name: &OsStr) -> Vec<*mut c_void> {
        let mut count = 0;
        // SAFETY: asking for the count only; the library is open.
        let code = unsafe { (self.get_platforms)(0, std::ptr::null_mut(), &raw mut count) };
        if code != opencl_sys::CL_SUCCESS || count == 0 {
            log::info!(
                "OpenCL driver {} has no platform (error {code})",
                name.display()
            );
            return Vec::new();
        }
        let mut platforms = vec![std::ptr::null_mut(); count as usize];
        // SAFETY: `platforms` has room for `count` entries.
        let code =
            unsafe { (self.get_platforms)(count, platforms.as_mut_ptr(), std::ptr::null_mut()) };
        if code != opencl_sys::CL_SUCCESS {
            return Vec::new();
        }
        let mut number = 0;
        platforms
            .retain(|&platform| !platform.is_null() && self.adopt(name, platform, &mut number));
        platforms
    }

    fn adopt(&self, name: &OsStr, platform: *mut c_void, number: &mut usize) -> bool {
        *number += 1;
        let adopted = icd2::adopt(self.managed, name, *number, platform);
        adopted
            .inspect_err(|reason| log::warn!("OpenCL driver {}: {reason}", name.display()))
            .is_ok()
    }
}

/// A platform's root devices of a type; empty if there are none.
pub fn devices(platform: *mut c_void, device_type: u64) -> Vec<*mut c_void> {
    let ask = |size: usize, value: *mut c_void, size_ret: *mut usize| {
        // This call counts entries, the queries' pattern counts bytes.
        let entries = u32::try_from(size / size_of::<*mut c_void>()).unwrap_or(u32::MAX);
        let mut count = 0;
        let answer = super::dispatch::status!(
            platform,
            clGetDeviceIDs(platform, device_type, entries, value.cast(), &raw mut count)
        );
        // SAFETY: `size_ret` is null or points to the query's own variable.
        if let Some(size_ret) = unsafe { size_ret.as_mut() } {
            *size_ret = count as usize * size_of::<*mut c_void>();
        }
        answer
    };
    // Some drivers open their devices only now.
    loaded::opening(|| query::handles(&ask)).unwrap_or_default()
}
