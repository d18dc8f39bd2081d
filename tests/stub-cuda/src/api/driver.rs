//! Initialisation, version, texts of errors.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::{self, entry_points};
use crate::ffi::put;
use crate::{device, errors, options};

entry_points! { free
    fn cuInit(flags: c_uint) {
        if options::options().is_err() {
            return Err(CUDA_ERROR_SYSTEM_NOT_READY);
        }
        if flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if call::is_forked() {
            return Err(CUDA_ERROR_NOT_INITIALIZED);
        }
        if call::initialized().is_err() {
            device::find()?;
            call::set_initialized();
        }
        Ok(())
    }

    fn cuDriverGetVersion(version: *mut c_int) {
        put(version, options::in_force().version)
    }

    fn cuGetErrorName(error: CUresult, name: *mut *const c_char) {
        text(name, errors::name_of(error).map(|name| name.as_ptr()))
    }

    fn cuGetErrorString(error: CUresult, text_out: *mut *const c_char) {
        text(text_out, errors::text_of(error).map(|text| text.as_ptr()))
    }

    fn cuGetExportTable(table: *mut *const c_void, id: *const CUuuid) {
        let _ = id;
        put(table, std::ptr::null())?;
        Err(CUDA_ERROR_NOT_FOUND)
    }
}

fn text(to: *mut *const c_char, found: Option<*const c_char>) -> Outcome<()> {
    put(to, found.unwrap_or(std::ptr::null()))?;
    found.map(drop).ok_or(CUDA_ERROR_INVALID_VALUE)
}
