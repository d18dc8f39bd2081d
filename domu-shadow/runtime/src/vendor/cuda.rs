//! Whether the program uses CUDA beside OpenCL.
//!
//! Both are in NVIDIA's `libcuda.so`, and with it the device's descriptors: a program that came to CUDA after OpenCL cannot be told by
//! them. But the driver API wants to be initialised (`cuInit`), which NVIDIA's OpenCL does not do (580.159).
//!
//! `unsafe`: calls one function of a library that is mapped.

use std::ffi::{OsStr, c_int};
use std::os::unix::ffi::OsStrExt;

use libloading::os::unix::{Library, RTLD_NOW};

use super::fronts;

/// `cuda.h`: the answer of every call before `cuInit`.
const CUDA_ERROR_NOT_INITIALIZED: c_int = 3;

/// Whether somebody in this process has initialised the CUDA driver API.
pub(super) fn is_in_use() -> bool {
    let name = OsStr::from_bytes(fronts::real(c"libcuda.so.1").to_bytes());
    // SAFETY: with RTLD_NOLOAD this only looks for a library that is mapped; no code of it runs.
    let library = unsafe { Library::open(Some(name), RTLD_NOW | libc::RTLD_NOLOAD) };
    let Ok(library) = library else { return false };
    // SAFETY: `cuda.h` gives this symbol this prototype.
    let count =
        unsafe { library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDeviceGetCount\0") };
    let mut devices = 0;
    // SAFETY: writes one number; may be called at any time, on any thread.
    count.is_ok_and(|count| unsafe { count(&raw mut devices) } != CUDA_ERROR_NOT_INITIALIZED)
}
