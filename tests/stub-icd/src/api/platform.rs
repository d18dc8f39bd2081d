//! Platforms, and finding functions by name.

use std::ffi::c_void;

use opencl_sys::{
    CL_INVALID_VALUE, CL_PLATFORM_EXTENSIONS, CL_PLATFORM_EXTENSIONS_WITH_VERSION,
    CL_PLATFORM_HOST_TIMER_RESOLUTION, CL_PLATFORM_ICD_SUFFIX_KHR, CL_PLATFORM_NAME,
    CL_PLATFORM_NUMERIC_VERSION, CL_PLATFORM_PROFILE, CL_PLATFORM_VENDOR, CL_PLATFORM_VERSION,
    cl_platform_id,
};

use crate::call::entry_points;
use crate::core::platform::Platform;
use crate::driver;
use crate::ffi::{HostOut, Out};
use crate::handle;
use crate::info::Answer;

entry_points! {
    fn clGetPlatformIDs(num_entries: u32, platforms: Out<cl_platform_id>, num_platforms: Out<u32>) {
        if (num_entries == 0) != platforms.is_null() || platforms.is_null() && num_platforms.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let driver = driver::load()?;
        platforms.set(driver.platform.slot.handle());
        num_platforms.set(1);
        Ok(())
    }

    fn clGetPlatformInfo(
        platform: *mut c_void,
        name: u32,
        size: usize,
        value: HostOut,
        size_ret: Out<usize>,
    ) {
        // "platform … can be NULL": then it is the implementation's choice, and there is only one.
        let platform = match platform.is_null() {
            true => driver::load()?.platform.clone(),
            false => handle::get::<Platform>(platform)?,
        };
        let answer = Answer::new(size, value, size_ret);
        let since_3_0 = platform.spec >= (3, 0);
        match name {
            CL_PLATFORM_PROFILE => answer.text("FULL_PROFILE"),
            CL_PLATFORM_VERSION => answer.text(&platform.version()),
            CL_PLATFORM_NAME => answer.text(Platform::NAME),
            CL_PLATFORM_VENDOR => answer.text(Platform::VENDOR),
            CL_PLATFORM_EXTENSIONS => answer.text(&Platform::EXTENSIONS.join(" ")),
            CL_PLATFORM_ICD_SUFFIX_KHR => answer.text("XLGPU"),
            CL_PLATFORM_HOST_TIMER_RESOLUTION if platform.spec >= (2, 1) => answer.value(1_u64),
            CL_PLATFORM_NUMERIC_VERSION if since_3_0 => answer.value(platform.numeric_version()),
            CL_PLATFORM_EXTENSIONS_WITH_VERSION if since_3_0 => {
                answer.versions(&Platform::EXTENSIONS.map(|extension| (extension, opencl_sys::make_version(1, 0, 0))))
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
