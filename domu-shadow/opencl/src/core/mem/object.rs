//! The memory object: a buffer, a sub-buffer, an image or a pipe.

use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use opencl_sys::{
    CL_INVALID_MEM_OBJECT, CL_MEM_ALLOC_HOST_PTR, CL_MEM_COPY_HOST_PTR, CL_MEM_HOST_NO_ACCESS,
    CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY, CL_MEM_READ_ONLY, CL_MEM_USE_HOST_PTR,
    cl_mem_flags,
};

use super::image::Image;
use super::map::Maps;
use super::marks::TRACKING;
use super::storage::Storage;
use crate::core::context::Context;
use crate::core::destructor_callbacks::DestructorCallbacks;
use crate::core::driver_handle::DriverHandle;
use crate::core::handle::{Slot, object};
use crate::driver::dispatch::{released, status};
use runtime::blocked::Hold;
use runtime::locks::lock;
use runtime::residency::{Residency, Resident, ensure_resident};

/// Kept from the driver, and checked here: a capture must be able to read and write every buffer.
pub const HOST_ACCESS: cl_mem_flags =
    CL_MEM_HOST_NO_ACCESS | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY;
/// Kept from the driver where the shadow gives the memory itself.
pub const HOST_POINTER: cl_mem_flags =
    CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR;

/// What kind of memory object.
pub enum Form {
    Buffer,
    Image(Image),
    /// Blocks moves: it is never made again.
    Pipe,
}

/// What `clCreateBufferWithProperties` or `clCreateImageWithProperties` was passed beside the flags.
#[derive(Default)]
pub struct Properties {
    /// As the program passed them, ending zero included; empty where it passed NULL.
    pub given: Vec<u64>,
    /// With the driver's handles.
    pub real: Vec<u64>,
    /// For each property: it keeps the process where it is.
    pub holds: Vec<Hold>,
}

pub struct Mem {
    pub(super) slot: Slot<Mem>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    /// As the program passed them; a sub-buffer's with what it inherits.
    pub flags: cl_mem_flags,
    pub form: Form,
    /// Bytes; of an image, those of its packed contents.
    pub size: usize,
    /// The buffer of a sub-buffer, or the buffer or image that an image was made from.
    pub parent: Option<Arc<Mem>>,
    /// Offset in the parent, bytes.
    pub origin: usize,
    pub(super) storage: Arc<Storage>,
    pub properties: Properties,
    pub destructors: DestructorCallbacks,
}

/// Of an object that has no contents of its own, those of its root.
impl Resident for Mem {
    fn id(&self) -> u64 {
        self.root().slot.id()
    }

    fn bytes(&self) -> u64 {
        self.root().size as u64
    }

    fn residency(&self) -> &Residency {
        &self.root().storage.residency
    }
}

object!(Mem, CL_INVALID_MEM_OBJECT);

impl Mem {
    /// A root, without a driver's object.
    pub(super) fn new(
        context: Arc<Context>,
        flags: cl_mem_flags,
        form: Form,
        size: usize,
        storage: Arc<Storage>,
    ) -> Mem {
        Mem {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            context,
            flags,
            form,
            size,
            parent: None,
            origin: 0,
            storage,
            properties: Properties::default(),
            destructors: DestructorCallbacks::default(),
        }
    }

    pub fn is_buffer(&self) -> bool {
        matches!(self.form, Form::Buffer)
    }

    pub fn image(&self) -> Option<&Image> {
        match &self.form {
            Form::Image(image) => Some(image),
            Form::Buffer | Form::Pipe => None,
        }
    }

    /// The object that holds the contents: itself, or what it was made from.
    pub fn root(&self) -> &Mem {
        let mut root = self;
        while let Some(parent) = &root.parent {
            root = parent;
        }
        root
    }

    pub fn maps(&self) -> MutexGuard<'_, Maps> {
        lock(&self.storage.maps)
    }

    /// A command that may write this object was enqueued. To be called *after* the driver took the command: a
    /// capture that cleared the mark before then has its own marker behind the command.
    #[inline]
    pub fn mark_written(&self) {
        if TRACKING.load(Ordering::Relaxed) {
            self.set_written();
        }
    }

    /// The same for a kernel that has it as an argument which the kernel should not write.
    #[inline]
    pub fn mark_used(&self) {
        if TRACKING.load(Ordering::Relaxed) {
            self.set_used();
        }
    }

    /// A command names it: waits until its contents are there.
    #[inline]
    pub fn ensure_resident(&self) {
        ensure_resident([self]);
    }

    /// Whether kernels may write it.
    #[inline]
    pub fn kernels_may_write(&self) -> bool {
        self.flags & CL_MEM_READ_ONLY == 0
    }

    pub fn set_written(&self) {
        self.root().storage.marks.set_written();
    }

    pub fn set_used(&self) {
        self.root().storage.marks.set_used();
    }

    /// Whether a command that may write it was enqueued since the marks were taken.
    pub fn is_written(&self) -> bool {
        self.storage.marks.is_written()
    }

    /// Whether any command that names it was.
    pub fn is_used(&self) -> bool {
        self.storage.marks.is_used()
    }

    /// Takes the marks away: whether it was used, and written.
    pub fn take_marks(&self) -> (bool, bool) {
        self.storage.marks.take()
    }
}

/// Releases a driver's memory object.
pub(super) fn release(real: *mut c_void) {
    released("a memory object", status!(real, clReleaseMemObject(real)));
}

impl Drop for Mem {
    fn drop(&mut self) {
        let callbacks = self.destructors.take(self.slot.handle());
        match self.real.take() {
            Some(real) => callbacks.call_when_gone(
                |call, user| {
                    status!(
                        real,
                        clSetMemObjectDestructorCallback(real, Some(call), user)
                    )
                },
                || release(real),
            ),
            None => callbacks.call(),
        }
    }
}
