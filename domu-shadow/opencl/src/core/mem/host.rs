//! Host memory behind memory objects: what maps point into, and what the driver is lent.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_MEM_ALLOC_HOST_PTR, CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_MEM_USE_HOST_PTR};

use super::object::{Form, Mem};
use crate::CLResult;
use crate::core::host_memory::HostMemory;
use crate::driver::dispatch::status;

impl Mem {
    /// Whether the driver's object lies over host memory: the program's, or for `CL_MEM_ALLOC_HOST_PTR` a buffer's
    /// ours.
    pub fn has_host_storage(&self) -> bool {
        let ours = match self.form {
            Form::Buffer => CL_MEM_ALLOC_HOST_PTR,
            Form::Image(_) | Form::Pipe => 0,
        };
        self.flags & (CL_MEM_USE_HOST_PTR | ours) != 0
    }

    /// The driver may touch our memory until its object is really gone: it owns a reference until then.
    pub(super) fn lend_to_driver(&self) {
        let Some(memory) = self.storage.own.get() else {
            return;
        };
        let real = self.real.get();
        let lent = Arc::into_raw(Arc::clone(memory)).cast_mut().cast();
        // On error the memory stays lent for ever, which is safe.
        let _ = status!(
            real,
            clSetMemObjectDestructorCallback(real, Some(give_back), lent)
        );
    }

    /// Where byte 0 of this object lies when mapped.
    ///
    /// # Errors
    /// `CL_MEM_OBJECT_ALLOCATION_FAILURE` where there is no address space for it.
    pub fn host_address(&self) -> CLResult<usize> {
        if self.storage.program != 0 {
            return Ok(self.storage.program + self.origin);
        }
        if let Some(own) = self.storage.own.get() {
            return Ok(own.address() + self.origin);
        }
        let (owner, bytes) = match &self.form {
            Form::Image(image) => (self, image.host_size()),
            Form::Buffer | Form::Pipe => (self.root(), self.root().size),
        };
        let memory = HostMemory::new(bytes).map_err(|_| CL_MEM_OBJECT_ALLOCATION_FAILURE)?;
        let own = self.storage.own.get_or_init(|| Arc::new(memory));
        // Unmapping reads from it after the program may have released the object.
        owner.lend_to_driver();
        Ok(own.address() + self.origin)
    }

    /// `CL_MEM_HOST_PTR`.
    pub fn program_pointer(&self) -> *mut c_void {
        let address = if self.storage.program == 0 {
            0
        } else {
            self.storage.program + self.origin
        };
        address as *mut c_void
    }
}

unsafe extern "C" fn give_back(_real: *mut c_void, lent: *mut c_void) {
    // SAFETY: `lent` came from `Arc::into_raw` in `lend_to_driver`, and a driver calls this once.
    drop(unsafe { Arc::from_raw(lent.cast_const().cast::<HostMemory>()) });
}
