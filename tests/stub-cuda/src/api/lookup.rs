//! `cuGetProcAddress`.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use crate::abi::*;
use crate::call::{self, entry_points};
use crate::ffi::{put, put_if, text};
use crate::lookup::{self, Answer};
use crate::options::in_force;

const LEGACY: c_ulonglong = 1;
const PER_THREAD: c_ulonglong = 2;

fn look(
    symbol: *const c_char,
    out: *mut *mut c_void,
    version: c_int,
    flags: c_ulonglong,
) -> Outcome<Answer> {
    let symbol = text(symbol)?;
    if out.is_null() || flags & !(LEGACY | PER_THREAD) != 0 || version > in_force().version {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(out, std::ptr::null_mut())?;
    let answer = match (symbol, in_force().future) {
        ("cuStubFuture", true) => Answer::Found(std::ptr::with_exposed_provenance_mut(
            (cuStubFuture as *const ()).expose_provenance(),
        )),
        _ => lookup::find(symbol, version, flags & PER_THREAD != 0),
    };
    if let Answer::Found(address) = answer {
        put(out, address)?;
    }
    Ok(answer)
}

/// A function that no header knows yet.
#[allow(non_snake_case, reason = "as CUDA's")]
extern "C" fn cuStubFuture() -> CUresult {
    call::run("cuStubFuture", call::Needs::Driver, &mut || Ok(()))
}

entry_points! { free
    fn cuGetProcAddress(symbol: *const c_char, out: *mut *mut c_void, version: c_int, flags: c_ulonglong) {
        match look(symbol, out, version, flags)? {
            Answer::Found(_) => Ok(()),
            Answer::NotFound | Answer::TooNew => Err(CUDA_ERROR_NOT_FOUND),
        }
    }

    fn cuGetProcAddress_v2(symbol: *const c_char, out: *mut *mut c_void, version: c_int, flags: c_ulonglong, status: *mut c_uint) {
        let answer = look(symbol, out, version, flags)?;
        put_if(status, match answer {
            Answer::Found(_) => 0,
            Answer::NotFound => 1,
            Answer::TooNew => 2,
        });
        match answer {
            Answer::NotFound | Answer::TooNew if status.is_null() => Err(CUDA_ERROR_NOT_FOUND),
            _ => Ok(()),
        }
    }
}
