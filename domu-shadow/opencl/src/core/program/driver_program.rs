//! A driver's program of ours.

use std::ffi::c_void;

use crate::driver::dispatch::status;

/// Releases a driver's program.
pub(super) fn release(real: *mut c_void) {
    if let Err(code) = status!(real, clReleaseProgram(real)) {
        log::warn!("a driver refused to release a program: error {code}");
    }
}

/// Released when dropped.
pub struct DriverProgram(pub(super) *mut c_void);

// SAFETY: a handle, which any thread may use.
unsafe impl Send for DriverProgram {}

impl Drop for DriverProgram {
    fn drop(&mut self) {
        release(self.0);
    }
}
