//! The driver's own answers to `clGet*Info`, as Rust values.

use std::ffi::c_void;

use opencl_sys::cl_int;

use super::dispatch::{ask, status};
use crate::CLResult;

/// One info query of the driver: `(size, value, size_ret)` as every `clGet*Info` takes them.
pub type Ask<'a> = &'a dyn Fn(usize, *mut c_void, *mut usize) -> CLResult<()>;

/// The whole answer as bytes.
pub fn bytes(ask: Ask<'_>) -> CLResult<Vec<u8>> {
    let mut size = 0;
    ask(0, std::ptr::null_mut(), &raw mut size)?;
    let mut answer = vec![0; size];
    if size > 0 {
        ask(size, answer.as_mut_ptr().cast(), std::ptr::null_mut())?;
    }
    Ok(answer)
}

/// The answer as text, without its terminating zero.
pub fn text(ask: Ask<'_>) -> CLResult<String> {
    let mut answer = bytes(ask)?;
    while answer.last() == Some(&0) {
        answer.pop();
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The answer as handles.
pub fn handles(ask: Ask<'_>) -> CLResult<Vec<*mut c_void>> {
    let mut size = 0;
    ask(0, std::ptr::null_mut(), &raw mut size)?;
    let mut answer: Vec<*mut c_void> = vec![std::ptr::null_mut(); size / size_of::<*mut c_void>()];
    if !answer.is_empty() {
        ask(size, answer.as_mut_ptr().cast(), std::ptr::null_mut())?;
    }
    Ok(answer)
}

/// The answer as one number. Drivers answer some queries with fewer bytes than `u64`; the rest is zero.
pub fn number(ask: Ask<'_>) -> CLResult<u64> {
    let mut value = 0_u64;
    ask(
        size_of::<u64>(),
        (&raw mut value).cast(),
        std::ptr::null_mut(),
    )?;
    Ok(value)
}

/// Bytes of a `cl_name_version`: version, then the name in 64 bytes.
pub const NAME_VERSION: usize = 68;

/// The entries of an array of `cl_name_version`: name and version.
pub fn versions(list: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
    list.chunks_exact(NAME_VERSION).map(|entry| {
        let (version, name) = entry.split_first_chunk().expect("a chunk has more bytes");
        let end = name.iter().position(|&byte| byte == 0);
        (
            &name[..end.unwrap_or(name.len())],
            u32::from_ne_bytes(*version),
        )
    })
}

/// A platform's string.
pub fn platform_text(platform: *mut c_void, parameter: u32) -> CLResult<String> {
    text(ask!(platform, clGetPlatformInfo(platform, parameter)))
}

/// A device's string.
pub fn device_text(device: *mut c_void, parameter: u32) -> CLResult<String> {
    text(ask!(device, clGetDeviceInfo(device, parameter)))
}

/// A device's number.
pub fn device_number(device: *mut c_void, parameter: u32) -> CLResult<u64> {
    number(ask!(device, clGetDeviceInfo(device, parameter)))
}

/// The status of a driver's event: `CL_COMPLETE`, a stage above it, or a negative error.
pub fn event_status(event: *mut c_void) -> CLResult<cl_int> {
    let mut value: cl_int = 0;
    status!(
        event,
        clGetEventInfo(
            event,
            opencl_sys::CL_EVENT_COMMAND_EXECUTION_STATUS,
            size_of::<cl_int>(),
            (&raw mut value).cast(),
            std::ptr::null_mut()
        )
    )?;
    Ok(value)
}

/// Whether a driver's event says that its command has ended, well or not. A driver that does not answer has not said so.
pub fn has_ended(event: *mut c_void) -> bool {
    event_status(event).is_ok_and(|status| status <= opencl_sys::CL_COMPLETE)
}
