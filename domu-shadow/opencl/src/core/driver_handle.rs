//! The driver's object behind a shadow object: it changes with every restore.

use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A driver's handle; null while detached and for objects that could not be made again.
///
/// Loads are relaxed: handles only change while the gate is closed, and passing the gate orders them.
#[derive(Debug)]
pub struct DriverHandle(AtomicPtr<c_void>);

impl DriverHandle {
    pub const fn new(handle: *mut c_void) -> Self {
        DriverHandle(AtomicPtr::new(handle))
    }

    #[inline]
    pub fn get(&self) -> *mut c_void {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, handle: *mut c_void) {
        self.0.store(handle, Ordering::Release);
    }

    /// Takes the handle away for releasing it: only one of several callers gets it.
    pub fn take(&self) -> Option<*mut c_void> {
        let handle = self.0.swap(std::ptr::null_mut(), Ordering::AcqRel);
        (!handle.is_null()).then_some(handle)
    }
}
