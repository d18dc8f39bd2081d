//! Calls through the dispatch table that every object of an ICD starts with (`cl_khr_icd`).

use std::ffi::c_void;

use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::{CL_SUCCESS, cl_int};

use crate::CLResult;

/// Every entry absent: what an object without a driver answers from.
// SAFETY: the table holds only `Option<fn>` (zero is `None`) and integers.
static NONE: cl_icd_dispatch = unsafe { std::mem::zeroed() };

/// `CL_ICD2_TAG_KHR` (cl_ext.h).
pub(super) const ICD2_TAG: usize = 0x4F50_454E_434C_3331;

/// Whether a driver's table leaves dispatching to the loader: its first entry, that of `clGetPlatformIDs`, is the tag.
#[inline]
pub(super) fn is_tagged(table: *const cl_icd_dispatch) -> bool {
    // SAFETY: the caller has it from a driver's object; the first entry is a pointer.
    unsafe { table.cast::<usize>().read() == ICD2_TAG }
}

/// The table of a driver's object; an empty one for null.
#[inline]
pub fn table_of(real: *mut c_void) -> &'static cl_icd_dispatch {
    if real.is_null() {
        return &NONE;
    }
    let words = real.cast::<*const cl_icd_dispatch>();
    // SAFETY: `real` came from a loaded driver, whose objects start with a pointer to its table (`cl_khr_icd`), and where that
    // has the tag, with what `super::icd2` gave to their platform; drivers are unloaded only when no object of theirs is
    // left here.
    unsafe {
        let table = words.read();
        if is_tagged(table) {
            &*words.add(1).read()
        } else {
            &*table
        }
    }
}

/// `CL_SUCCESS` or the error.
#[inline]
pub fn check(code: cl_int) -> CLResult<()> {
    if code == CL_SUCCESS {
        Ok(())
    } else {
        Err(code)
    }
}

/// A list, as functions take it: null for an empty one.
#[inline]
pub fn pointer<T>(list: &[T]) -> *const T {
    if list.is_empty() {
        std::ptr::null()
    } else {
        list.as_ptr()
    }
}

/// What a driver answers to a release: nothing can be done about a refusal.
pub fn released(what: &str, answer: CLResult<()>) {
    if let Err(code) = answer {
        log::warn!("a driver refused to release {what}: error {code}");
    }
}

/// Calls a driver's function that returns a status: `status!(real, clFinish(real))`.
///
/// The handles must be the driver's own and live; pointers are the program's, passed on under the specification's
/// contract, or ours, valid for what the function does with them.
macro_rules! status {
    ($real:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        match $crate::driver::dispatch::table_of($real).$function {
            Some(function) => {
                // SAFETY: see the macro's contract above.
                $crate::driver::dispatch::check(unsafe { function($($argument),*) })
            }
            None => Err(opencl_sys::CL_INVALID_OPERATION),
        }
    }};
}

/// Calls a driver's function that returns an object and takes `errcode_ret` last: `create!(real, clCreateBuffer(…))`.
/// Same contract as `status!`.
macro_rules! create {
    ($real:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        match $crate::driver::dispatch::table_of($real).$function {
            Some(function) => {
                let mut code = opencl_sys::CL_SUCCESS;
                // SAFETY: see the contract of `status!`; `code` outlives the call.
                let object = unsafe { function($($argument,)* &raw mut code) };
                match $crate::driver::dispatch::check(code) {
                    Ok(()) if object.is_null() => Err(opencl_sys::CL_OUT_OF_HOST_MEMORY),
                    Ok(()) => Ok(object),
                    Err(code) => Err(code),
                }
            }
            None => Err(opencl_sys::CL_INVALID_OPERATION),
        }
    }};
}

/// One info query, for the functions of [`super::query`]: `ask!(event, clGetEventInfo(event, parameter))`.
/// Same contract as `status!`.
macro_rules! ask {
    ($real:expr, $function:ident ( $($argument:expr),* )) => {
        &|size, value, size_ret| {
            $crate::driver::dispatch::status!($real, $function($($argument,)* size, value, size_ret))
        }
    };
}

pub(crate) use {ask, create, status};
