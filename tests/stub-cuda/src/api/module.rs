//! Modules, their functions and variables.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::ffi::{get, list, put, put_if, put_list, put_text, text};
use crate::library;
use crate::module::{self, Refused};

const INFO_LOG: c_uint = 3;
const INFO_LOG_SIZE: c_uint = 4;
const ERROR_LOG: c_uint = 5;
const ERROR_LOG_SIZE: c_uint = 6;

/// Where a loader's messages go.
pub struct Logs {
    options: Vec<c_uint>,
    values: *mut *mut c_void,
}

impl Logs {
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn new(count: c_uint, options: *const c_uint, values: *mut *mut c_void) -> Outcome<Logs> {
        let options = list(options, count as usize)?;
        match options.is_empty() || !values.is_null() {
            true => Ok(Logs { options, values }),
            false => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn place(&self, option: c_uint) -> Option<*mut *mut c_void> {
        let nth = self.options.iter().position(|own| *own == option)?;
        Some(self.values.wrapping_add(nth))
    }

    fn write(&self, buffer: c_uint, size: c_uint, message: &str) -> Option<()> {
        let (buffer, size) = (self.place(buffer)?, self.place(size)?);
        let room = get(size).ok()?.addr();
        put_text(get(buffer).ok()?.cast::<c_char>(), room, message).ok()?;
        let written = message.len().min(room - 1);
        put_if(size, std::ptr::without_provenance_mut(written));
        Some(())
    }

    /// Writes what became of it.
    pub fn tell(&self, result: &Result<(), Refused>) {
        let message = match result {
            Ok(()) => "",
            Err(refused) => &refused.log,
        };
        self.write(ERROR_LOG, ERROR_LOG_SIZE, message);
        self.write(INFO_LOG, INFO_LOG_SIZE, "");
    }
}

/// An image: text up to its end.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for NULL.
pub fn image_of<'a>(image: *const c_void) -> Outcome<&'a [u8]> {
    let start: [u8; 4] = get(image.cast())?;
    if &start == b"\x7fELF"
        || start == 0x4662_43b1_u32.to_le_bytes()
        || start == 0xba55_ed50_u32.to_le_bytes()
    {
        return Ok(b"\x7fELF");
    }
    // SAFETY: what is not of the other kinds is text that ends with zero, as cuda.h says.
    Ok(unsafe { std::ffi::CStr::from_ptr(image.cast()) }.to_bytes())
}

fn load(out: *mut Handle, image: &[u8], logs: &Logs) -> Outcome<()> {
    let context = context::current()?;
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let loaded = module::read(image)
        .and_then(|parsed| module::load(context.handle, context.device, &parsed));
    let result = loaded.map(|module| put_if(out, module.handle));
    logs.tell(&result);
    result.map_err(|refused| refused.code)
}

fn no_logs() -> Logs {
    Logs {
        options: Vec::new(),
        values: std::ptr::null_mut(),
    }
}

fn variable(
    at: *mut CUdeviceptr,
    size: *mut usize,
    module: Handle,
    name: *const c_char,
) -> Outcome<()> {
    context::current()?;
    let (address, bytes) = module::get(module)?.variable(text(name)?)?;
    put_if(at, address);
    put_if(size, bytes as usize);
    Ok(())
}

fn function(handle: Handle) -> Outcome<std::sync::Arc<module::Function>> {
    let context = context::current_any()?;
    library::function_of(handle, context.handle, context.device)
}

entry_points! {
    fn cuModuleLoad(out: *mut Handle, path: *const c_char) {
        let image = std::fs::read(text(path)?).map_err(|_| CUDA_ERROR_FILE_NOT_FOUND)?;
        load(out, &image, &no_logs())
    }

    fn cuModuleLoadData(out: *mut Handle, image: *const c_void) {
        load(out, image_of(image)?, &no_logs())
    }

    fn cuModuleLoadDataEx(out: *mut Handle, image: *const c_void, count: c_uint, options: *const c_uint, values: *mut *mut c_void) {
        load(out, image_of(image)?, &Logs::new(count, options, values)?)
    }

    fn cuModuleLoadFatBinary(out: *mut Handle, image: *const c_void) {
        load(out, image_of(image)?, &no_logs())
    }

    fn cuModuleUnload(module: Handle) {
        let context = context::current()?;
        context.synchronize()?;
        module::unload(module)
    }

    fn cuModuleGetLoadingMode(mode: *mut c_uint) {
        put(mode, 1)
    }

    fn cuModuleGetFunction(out: *mut Handle, module: Handle, name: *const c_char) {
        context::current()?;
        put(out, module::get(module)?.function(text(name)?)?.handle)
    }

    fn cuModuleGetFunctionCount(count: *mut c_uint, module: Handle) {
        put(count, module::get(module)?.functions().len() as c_uint)
    }

    fn cuModuleEnumerateFunctions(out: *mut Handle, count: c_uint, module: Handle) {
        let functions = module::get(module)?.functions();
        put_list(out, &functions[..functions.len().min(count as usize)]);
        Ok(())
    }

    fn cuModuleGetGlobal_v2(at: *mut CUdeviceptr, size: *mut usize, module: Handle, name: *const c_char) {
        variable(at, size, module, name)
    }

    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_uint, handle: Handle) {
        put(value, function(handle)?.attribute(attribute)?)
    }

    fn cuFuncSetAttribute(handle: Handle, attribute: c_uint, value: c_int) {
        function(handle)?.set_attribute(attribute, value)
    }

    fn cuFuncSetCacheConfig(handle: Handle, config: c_uint) {
        let _ = config;
        function(handle).map(drop)
    }

    fn cuFuncSetSharedMemConfig(handle: Handle, config: c_uint) {
        let _ = config;
        function(handle).map(drop)
    }

    fn cuFuncGetModule(out: *mut Handle, handle: Handle) {
        put(out, function(handle)?.module)
    }

    fn cuFuncGetName(name: *mut *const c_char, handle: Handle) {
        put(name, function(handle)?.name.as_ptr())
    }

    fn cuFuncGetParamInfo(handle: Handle, nth: usize, offset: *mut usize, size: *mut usize) {
        let function = function(handle)?;
        let (at, bytes) = function.kernel.parameters.get(nth).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        put(offset, *at)?;
        put_if(size, *bytes);
        Ok(())
    }

    fn cuFuncIsLoaded(state: *mut c_uint, handle: Handle) {
        function(handle)?;
        put(state, 1)
    }

    fn cuFuncLoad(handle: Handle) {
        function(handle).map(drop)
    }
}
