//! A driver's program of ours.

use std::ffi::c_void;

use crate::driver::dispatch::{released, status};

/// Releases a driver's program.
pub(super) fn release(real: *mut c_void) {
    released("a program", status!(real, clReleaseProgram(real)));
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
