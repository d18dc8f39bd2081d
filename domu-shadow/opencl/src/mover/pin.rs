//! Shared pages that a driver has pinned, so that transfers into and out of them run at the bus's rate.

use std::ffi::c_void;

use channel::memory::SharedPages;
use opencl_sys::{CL_MEM_READ_WRITE, CL_MEM_USE_HOST_PTR};

use crate::core::context::Context;
use crate::driver::dispatch::{create, status};

/// A buffer over the pages, which drivers pin for it. No command ever names it. Released when dropped.
pub(super) struct Pin {
    buffer: *mut c_void,
    /// Unmapped no earlier than the driver has let go.
    _pages: SharedPages,
}

// SAFETY: OpenCL objects belong to no thread.
unsafe impl Send for Pin {}

impl Pin {
    /// `None` where the driver refuses: transfers work without, through its own copies.
    pub(super) fn new(context: &Context, pages: &SharedPages) -> Option<Pin> {
        let real = context.real.get();
        let flags = CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR;
        let (bytes, memory) = (pages.len(), pages.as_ptr().cast());
        match create!(real, clCreateBuffer(real, flags, bytes, memory)) {
            Ok(buffer) => Some(Pin {
                buffer,
                _pages: pages.clone(),
            }),
            Err(code) => {
                log::info!("a driver does not pin {bytes} shared bytes: OpenCL error {code}");
                None
            }
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Err(code) = status!(self.buffer, clReleaseMemObject(self.buffer)) {
            log::warn!("releasing pinned pages failed: OpenCL error {code}");
        }
    }
}
