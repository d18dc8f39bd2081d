//! Libraries and their kernels.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::module::{Logs, image_of};
use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::device;
use crate::ffi::{put, put_if, put_list, text};
use crate::library;
use crate::module::Function;

fn load(out: *mut Handle, image: &[u8], logs: &Logs) -> Outcome<()> {
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let result = library::load(image).map(|handle| put_if(out, handle));
    logs.tell(&result);
    result.map_err(|refused| refused.code)
}

/// A kernel's function in the current context.
fn function(kernel: Handle) -> Outcome<std::sync::Arc<Function>> {
    let context = context::current()?;
    library::kernel(kernel)?.function(context.handle, context.device)
}

/// The same on a device, in its primary context or the current one.
fn function_on(kernel: Handle, dev: CUdevice) -> Outcome<std::sync::Arc<Function>> {
    device::get(dev)?;
    function(kernel)
}

entry_points! {
    fn cuLibraryLoadData(
        out: *mut Handle, image: *const c_void, jit_options: *const c_uint, jit_values: *mut *mut c_void,
        jit_count: c_uint, options: *const c_uint, values: *const *const c_void, count: c_uint
    ) {
        let _ = (options, values, count);
        load(out, image_of(image)?, &Logs::new(jit_count, jit_options, jit_values)?)
    }

    fn cuLibraryLoadFromFile(
        out: *mut Handle, path: *const c_char, jit_options: *const c_uint, jit_values: *mut *mut c_void,
        jit_count: c_uint, options: *const c_uint, values: *const *const c_void, count: c_uint
    ) {
        let _ = (options, values, count);
        let image = std::fs::read(text(path)?).map_err(|_| CUDA_ERROR_FILE_NOT_FOUND)?;
        load(out, &image, &Logs::new(jit_count, jit_options, jit_values)?)
    }

    fn cuLibraryUnload(handle: Handle) {
        library::unload(handle)
    }

    fn cuLibraryGetKernel(out: *mut Handle, handle: Handle, name: *const c_char) {
        put(out, library::get(handle)?.kernel(text(name)?)?)
    }

    fn cuLibraryGetKernelCount(count: *mut c_uint, handle: Handle) {
        put(count, library::get(handle)?.kernels().len() as c_uint)
    }

    fn cuLibraryEnumerateKernels(out: *mut Handle, count: c_uint, handle: Handle) {
        let kernels = library::get(handle)?.kernels();
        put_list(out, &kernels[..kernels.len().min(count as usize)]);
        Ok(())
    }

    fn cuLibraryGetModule(out: *mut Handle, handle: Handle) {
        let context = context::current()?;
        put(out, library::get(handle)?.module(context.handle, context.device)?.handle)
    }

    fn cuLibraryGetGlobal(at: *mut CUdeviceptr, size: *mut usize, handle: Handle, name: *const c_char) {
        let context = context::current()?;
        let module = library::get(handle)?.module(context.handle, context.device)?;
        let (address, bytes) = module.variable(text(name)?)?;
        put_if(at, address);
        put_if(size, bytes as usize);
        Ok(())
    }

    fn cuLibraryGetManaged(at: *mut CUdeviceptr, size: *mut usize, handle: Handle, name: *const c_char) {
        let _ = (at, size, text(name)?);
        library::get(handle)?;
        Err(CUDA_ERROR_NOT_FOUND)
    }

    fn cuKernelGetFunction(out: *mut Handle, kernel: Handle) {
        put(out, function(kernel)?.handle)
    }

    fn cuKernelGetLibrary(out: *mut Handle, kernel: Handle) {
        put(out, library::kernel(kernel)?.library)
    }

    fn cuKernelGetName(name: *mut *const c_char, kernel: Handle) {
        put(name, library::kernel(kernel)?.c_name.as_ptr())
    }

    fn cuKernelGetAttribute(value: *mut c_int, attribute: c_uint, kernel: Handle, dev: CUdevice) {
        put(value, function_on(kernel, dev)?.attribute(attribute)?)
    }

    fn cuKernelSetAttribute(attribute: c_uint, value: c_int, kernel: Handle, dev: CUdevice) {
        function_on(kernel, dev)?.set_attribute(attribute, value)
    }

    fn cuKernelSetCacheConfig(kernel: Handle, config: c_uint, dev: CUdevice) {
        let _ = config;
        function_on(kernel, dev).map(drop)
    }

    fn cuKernelGetParamInfo(kernel: Handle, nth: usize, offset: *mut usize, size: *mut usize) {
        let function = function(kernel)?;
        let (at, bytes) = function.kernel.parameters.get(nth).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        put(offset, *at)?;
        put_if(size, *bytes);
        Ok(())
    }
}
