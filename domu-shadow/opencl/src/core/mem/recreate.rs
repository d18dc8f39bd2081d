//! Releasing the driver's memory objects, and making them again.

use std::ffi::c_void;

use opencl_sys::{
    CL_BUFFER_CREATE_TYPE_REGION, CL_MEM_COPY_HOST_PTR, CL_MEM_USE_HOST_PTR, cl_buffer_region,
};

use super::object::{Form, HOST_ACCESS, HOST_POINTER, Mem, release};
use crate::CLResult;
use crate::driver::dispatch::create;

impl Mem {
    /// Makes the driver's object: at creation with the program's `host` pointer, after a move with null (contents
    /// come by writing then).
    ///
    /// # Errors
    /// The driver's.
    pub(super) fn create_driver(&self, host: *mut c_void) -> CLResult<()> {
        let access = self.flags & !(HOST_ACCESS | HOST_POINTER);
        if let Form::Image(image) = &self.form {
            let parent = self
                .parent
                .as_ref()
                .map_or(std::ptr::null_mut(), |parent| parent.real.get());
            let flags = access | self.flags & CL_MEM_USE_HOST_PTR;
            let host = self.program_pointer();
            self.real.set(image.make(
                self.context.real.get(),
                flags,
                parent,
                host,
                &self.properties.real,
            )?);
            return Ok(());
        }
        let real = if let Some(parent) = &self.parent {
            let region = cl_buffer_region {
                origin: self.origin,
                size: self.size,
            };
            let parent = parent.real.get();
            create!(
                parent,
                clCreateSubBuffer(
                    parent,
                    access,
                    CL_BUFFER_CREATE_TYPE_REGION,
                    (&raw const region).cast()
                )
            )?
        } else {
            let context = self.context.real.get();
            let (flags, pointer) = if self.has_host_storage() {
                (
                    access | CL_MEM_USE_HOST_PTR,
                    self.host_address()? as *mut c_void,
                )
            } else if host.is_null() {
                (access, host)
            } else {
                (access | self.flags & CL_MEM_COPY_HOST_PTR, host)
            };
            match &self.properties.real[..] {
                [] | [0] => create!(context, clCreateBuffer(context, flags, self.size, pointer))?,
                list => create!(
                    context,
                    clCreateBufferWithProperties(context, list.as_ptr(), flags, self.size, pointer)
                )?,
            }
        };
        self.real.set(real);
        Ok(())
    }

    /// Releases the driver's object; made again by [`Mem::recreate`].
    pub fn release_driver(&self) {
        if let Some(real) = self.real.take() {
            release(real);
        }
    }

    /// After a move: makes the driver's object, which is lent our memory again. Contents come by writing.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        self.create_driver(std::ptr::null_mut())?;
        if self.parent.is_none() || self.image().is_some() {
            self.lend_to_driver();
        }
        Ok(())
    }
}
