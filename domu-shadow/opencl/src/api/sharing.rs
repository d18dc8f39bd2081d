//! Sharing with OpenGL and EGL: not offered, for what another API holds on the GPU cannot move.
//!
//! The extensions are missing from every extension string, and no context is created with their properties. So each
//! function answers as the specification says for a context that shares with nobody.

use std::ffi::c_void;

use opencl_sys::cl_egl::{
    CL_INVALID_EGL_OBJECT_KHR, CLeglDisplayKHR, CLeglImageKHR, CLeglSyncKHR,
    cl_egl_image_properties_khr,
};
use opencl_sys::{
    CL_CONTEXT_PLATFORM, CL_INVALID_CONTEXT, CL_INVALID_GL_OBJECT,
    CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR, CL_INVALID_OPERATION, CL_INVALID_PLATFORM,
    CL_INVALID_VALUE, cl_GLenum, cl_GLint, cl_GLsync, cl_GLuint, cl_command_queue, cl_context,
    cl_context_properties, cl_event, cl_gl_context_info, cl_gl_object_type, cl_gl_texture_info,
    cl_int, cl_mem, cl_mem_flags,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::WaitList;
use crate::core::{Caller, Context, Mem, Platform, Queue, handle};

/// The arguments of acquiring and releasing, then the code for objects that are not shared.
fn refuse(
    caller: &Caller,
    queue: cl_command_queue,
    objects: (u32, *const cl_mem),
    wait: (u32, *const cl_event),
    code: cl_int,
) -> CLResult<()> {
    handle::borrow::<Queue>(caller, queue)?;
    let (count, list) = objects;
    if (count == 0) != list.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    for &object in caller.list(list, count as usize) {
        handle::borrow::<Mem>(caller, object)?;
    }
    WaitList::new(caller, wait.0, wait.1)?;
    // "If num_objects is 0 and mem_objects is NULL the function does nothing."
    if count == 0 { Ok(()) } else { Err(code) }
}

/// "`CL_INVALID_CONTEXT` if context is not a valid context or was not created from a GL context."
fn not_from_gl<T>(caller: &Caller, context: cl_context) -> CLResult<T> {
    handle::borrow::<Context>(caller, context)?;
    Err(CL_INVALID_CONTEXT)
}

entry! {
    fn clCreateFromGLBuffer(caller, context: cl_context, _flags: cl_mem_flags, _buffer: cl_GLuint) -> object {
        not_from_gl(caller, context)
    }

    fn clCreateFromGLRenderbuffer(caller, context: cl_context, _flags: cl_mem_flags, _name: cl_GLuint) -> object {
        not_from_gl(caller, context)
    }

    fn clCreateFromGLTexture(
        caller,
        context: cl_context,
        _flags: cl_mem_flags,
        _target: cl_GLenum,
        _level: cl_GLint,
        _texture: cl_GLuint,
    ) -> object {
        not_from_gl(caller, context)
    }

    fn clCreateEventFromGLsyncKHR(caller, context: cl_context, _sync: cl_GLsync) -> object {
        not_from_gl(caller, context)
    }

    fn clEnqueueAcquireGLObjects(
        caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, wait_count: u32, wait: *const cl_event,
        _event: *mut cl_event,
    ) -> status {
        refuse(caller, queue, (count, objects), (wait_count, wait), CL_INVALID_CONTEXT)
    }

    fn clEnqueueReleaseGLObjects(
        caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, wait_count: u32, wait: *const cl_event,
        _event: *mut cl_event,
    ) -> status {
        refuse(caller, queue, (count, objects), (wait_count, wait), CL_INVALID_CONTEXT)
    }

    fn clGetGLObjectInfo(caller, object: cl_mem, _kind: *mut cl_gl_object_type, _name: *mut cl_GLuint) -> status {
        handle::borrow::<Mem>(caller, object)?;
        Err(CL_INVALID_GL_OBJECT)
    }

    fn clGetGLTextureInfo(
        caller,
        object: cl_mem,
        _parameter: cl_gl_texture_info,
        _size: usize,
        _value: *mut c_void,
        _size_ret: *mut usize,
    ) -> status {
        handle::borrow::<Mem>(caller, object)?;
        Err(CL_INVALID_GL_OBJECT)
    }

    /// Without a platform no driver can be meant; with one, its properties name no GL context that is shared with.
    fn clGetGLContextInfoKHR(
        caller,
        properties: *const cl_context_properties,
        _parameter: cl_gl_context_info,
        _size: usize,
        _value: *mut c_void,
        _size_ret: *mut usize,
    ) -> status {
        let list = caller.properties(properties).unwrap_or_default();
        let platform = list.chunks_exact(2).find(|pair| pair[0] == CL_CONTEXT_PLATFORM);
        let platform = platform.ok_or(CL_INVALID_PLATFORM)?[1];
        handle::borrow::<Platform>(caller, platform as *mut c_void)?;
        Err(CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR)
    }

    fn clCreateFromEGLImageKHR(
        caller,
        context: cl_context,
        _display: CLeglDisplayKHR,
        _image: CLeglImageKHR,
        _flags: cl_mem_flags,
        _properties: *const cl_egl_image_properties_khr,
    ) -> object {
        handle::borrow::<Context>(caller, context)?;
        Err(CL_INVALID_OPERATION)
    }

    fn clCreateEventFromEGLSyncKHR(
        caller,
        context: cl_context,
        _sync: CLeglSyncKHR,
        _display: CLeglDisplayKHR,
    ) -> object {
        handle::borrow::<Context>(caller, context)?;
        Err(CL_INVALID_EGL_OBJECT_KHR)
    }

    fn clEnqueueAcquireEGLObjectsKHR(
        caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, wait_count: u32, wait: *const cl_event,
        _event: *mut cl_event,
    ) -> status {
        refuse(caller, queue, (count, objects), (wait_count, wait), CL_INVALID_EGL_OBJECT_KHR)
    }

    fn clEnqueueReleaseEGLObjectsKHR(
        caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, wait_count: u32, wait: *const cl_event,
        _event: *mut cl_event,
    ) -> status {
        refuse(caller, queue, (count, objects), (wait_count, wait), CL_INVALID_EGL_OBJECT_KHR)
    }
}

// Of one kind each, and with the same parameters.
pub use clCreateFromGLTexture as clCreateFromGLTexture2D;
pub use clCreateFromGLTexture as clCreateFromGLTexture3D;
