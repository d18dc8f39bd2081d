//! What is not done yet, by chapter: each call fails with a proper code and is logged once.
//!
//! A call that fails leaves nothing behind, so it does not stand in the way of a move.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use opencl_sys::cl_egl::{
    CLeglDisplayKHR, CLeglImageKHR, CLeglSyncKHR, cl_egl_image_properties_khr,
};
use opencl_sys::{
    cl_GLenum, cl_GLint, cl_GLsync, cl_GLuint, cl_command_queue, cl_context, cl_context_properties,
    cl_device_id, cl_event, cl_gl_context_info, cl_gl_object_type, cl_gl_texture_info, cl_int,
    cl_kernel, cl_mem, cl_mem_flags, cl_program, cl_uint,
};

use super::caller::Caller;

fn warn_once(warned: &AtomicBool, function: &str, chapter: &str) {
    if !warned.swap(true, Ordering::Relaxed) {
        log::warn!("{function}: {chapter}: not supported, the call fails");
    }
}

macro_rules! not_yet {
    ($chapter:literal: $(fn $name:ident($($type:ty),* $(,)?) -> $kind:ident;)*) => {
        $(not_yet!(@$kind $chapter $name($($type),*));)*
    };
    (@status $chapter:literal $name:ident($($type:ty),*)) => {
        /// Fails with `CL_INVALID_OPERATION`.
        ///
        /// # Safety
        /// No argument is used.
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name($(_: $type),*) -> cl_int {
            not_yet!(@warn $chapter $name);
            opencl_sys::CL_INVALID_OPERATION
        }
    };
    (@object $chapter:literal $name:ident($($type:ty),*)) => {
        /// Fails with `CL_INVALID_OPERATION`.
        ///
        /// # Safety
        /// `errcode_ret` is NULL or has room for a code.
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name($(_: $type,)* errcode_ret: *mut cl_int) -> *mut c_void {
            not_yet!(@warn $chapter $name);
            // SAFETY: the pointer used through it is this call's argument.
            unsafe { Caller::new() }.give(errcode_ret, opencl_sys::CL_INVALID_OPERATION);
            std::ptr::null_mut()
        }
    };
    (@warn $chapter:literal $name:ident) => {
        static WARNED: AtomicBool = AtomicBool::new(false);
        warn_once(&WARNED, stringify!($name), $chapter);
    };
}

not_yet! {
    "programs in an intermediate language":
    fn clCreateProgramWithIL(cl_context, *const c_void, usize) -> object;
    fn clSetProgramSpecializationConstant(cl_program, cl_uint, usize, *const c_void) -> status;
}

not_yet! {
    "built-in kernels":
    fn clCreateProgramWithBuiltInKernels(cl_context, cl_uint, *const cl_device_id, *const c_char) -> object;
}

not_yet! {
    "device-side queues":
    fn clSetDefaultDeviceCommandQueue(cl_context, cl_device_id, cl_command_queue) -> status;
}

not_yet! {
    "program release callbacks":
    fn clSetProgramReleaseCallback(cl_program, Option<unsafe extern "C" fn(cl_program, *mut c_void)>, *mut c_void) -> status;
}

not_yet! {
    "suggested work-group sizes":
    fn clGetKernelSuggestedLocalWorkSize(cl_command_queue, cl_kernel, cl_uint, *const usize, *const usize, *mut usize) -> status;
}

not_yet! {
    "sharing with OpenGL":
    fn clCreateEventFromGLsyncKHR(cl_context, cl_GLsync) -> object;
    fn clCreateFromGLBuffer(cl_context, cl_mem_flags, cl_GLuint) -> object;
    fn clCreateFromGLRenderbuffer(cl_context, cl_mem_flags, cl_GLuint) -> object;
    fn clCreateFromGLTexture(cl_context, cl_mem_flags, cl_GLenum, cl_GLint, cl_GLuint) -> object;
    fn clCreateFromGLTexture2D(cl_context, cl_mem_flags, cl_GLenum, cl_GLint, cl_GLuint) -> object;
    fn clCreateFromGLTexture3D(cl_context, cl_mem_flags, cl_GLenum, cl_GLint, cl_GLuint) -> object;
    fn clEnqueueAcquireGLObjects(cl_command_queue, cl_uint, *const cl_mem, cl_uint, *const cl_event, *mut cl_event) -> status;
    fn clEnqueueReleaseGLObjects(cl_command_queue, cl_uint, *const cl_mem, cl_uint, *const cl_event, *mut cl_event) -> status;
    fn clGetGLContextInfoKHR(*const cl_context_properties, cl_gl_context_info, usize, *mut c_void, *mut usize) -> status;
    fn clGetGLObjectInfo(cl_mem, *mut cl_gl_object_type, *mut cl_GLuint) -> status;
    fn clGetGLTextureInfo(cl_mem, cl_gl_texture_info, usize, *mut c_void, *mut usize) -> status;
}

not_yet! {
    "sharing with EGL":
    fn clCreateEventFromEGLSyncKHR(cl_context, CLeglSyncKHR, CLeglDisplayKHR) -> object;
    fn clCreateFromEGLImageKHR(cl_context, CLeglDisplayKHR, CLeglImageKHR, cl_mem_flags, *const cl_egl_image_properties_khr) -> object;
    fn clEnqueueAcquireEGLObjectsKHR(cl_command_queue, cl_uint, *const cl_mem, cl_uint, *const cl_event, *mut cl_event) -> status;
    fn clEnqueueReleaseEGLObjectsKHR(cl_command_queue, cl_uint, *const cl_mem, cl_uint, *const cl_event, *mut cl_event) -> status;
}
