//! The one pattern of all entry points.
//!
//! ```ignore
//! entry! {
//!     fn clFinish(caller, queue: cl_command_queue) -> status { … CLResult<()> … }
//!     #[drains] fn clReleaseEvent(caller, event: cl_event) -> status { … }
//!     fn clCreateBuffer(caller, context: cl_context, …) -> object { … CLResult<*mut c_void> … }
//! }
//! ```
//!
//! `status` functions return the code; `info` functions, too, which get the last parameters of every `clGet*Info` as an
//! [`Answer`](super::info::Answer) (`fn clGetEventInfo(caller, answer, event: cl_event, parameter: cl_event_info) -> info`); `object` functions get a last parameter `errcode_ret` and return a pointer;
//! `pointer` functions return a pointer or NULL, `nothing` ones nothing; `object_and_code` bodies return both, for the
//! object that is there although the call failed.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use opencl_sys::{CL_OUT_OF_RESOURCES, CL_SUCCESS, cl_int};

use crate::CLResult;
use crate::core::Caller;
use runtime::gate::Pass;
use runtime::start;

/// Runs an entry point's body inside the gate; a panic becomes an error, it never reaches the program's C code.
#[inline]
pub fn run<T>(
    name: &'static str,
    pass: Pass,
    caller: &Caller,
    body: impl FnOnce(&Caller) -> CLResult<T>,
) -> CLResult<T> {
    let _inside = start::enter(pass).ok_or(CL_OUT_OF_RESOURCES)?;
    match catch_unwind(AssertUnwindSafe(|| body(caller))) {
        Ok(answer) => answer,
        Err(_) => Err(panicked(name)),
    }
}

#[cold]
fn panicked(name: &'static str) -> cl_int {
    log::error!("{name}: internal error; the call fails with CL_OUT_OF_RESOURCES");
    CL_OUT_OF_RESOURCES
}

/// A `CLResult` as the C status.
#[inline]
pub fn code(answer: CLResult<()>) -> cl_int {
    match answer {
        Ok(()) => CL_SUCCESS,
        Err(code) => code,
    }
}

/// A `CLResult` as a pointer and `errcode_ret`.
#[inline]
pub fn object(
    caller: &Caller,
    answer: CLResult<(*mut c_void, cl_int)>,
    errcode_ret: *mut cl_int,
) -> *mut c_void {
    let (object, code) = answer.unwrap_or_else(|code| (std::ptr::null_mut(), code));
    caller.give(errcode_ret, code);
    object
}

macro_rules! entry {
    () => {};
    ($(#[doc = $doc:expr])* #[drains] fn $($rest:tt)*) => {
        $crate::api::entry::entry! { @one Drains [$(#[doc = $doc])*] $($rest)* }
    };
    ($(#[doc = $doc:expr])* fn $($rest:tt)*) => {
        $crate::api::entry::entry! { @one Normal [$(#[doc = $doc])*] $($rest)* }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident $(, $argument:ident: $type:ty)* $(,)?) -> status $body:block $($rest:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the OpenCL specification says of the parameters.
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> opencl_sys::cl_int {
            // SAFETY: the pointers used through it are this call's arguments.
            let caller = unsafe { $crate::core::caller::Caller::new() };
            let pass = runtime::gate::Pass::$pass;
            $crate::api::entry::code($crate::api::entry::run(stringify!($name), pass, &caller, |$caller| $body))
        }
        $crate::api::entry::entry! { $($rest)* }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident, $answer:ident $(, $argument:ident: $type:ty)* $(,)?) -> info $body:block $($rest:tt)*) => {
        $crate::api::entry::entry! {
            @one $pass [$(#[$doc])*]
            $name($caller $(, $argument: $type)*, size: usize, value: *mut std::ffi::c_void, size_ret: *mut usize) -> status {
                let $answer = $crate::api::info::Answer { caller: $caller, size, value, size_ret };
                $body
            }
            $($rest)*
        }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident $(, $argument:ident: $type:ty)* $(,)?) -> pointer $body:block $($rest:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the OpenCL specification says of the parameters.
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> *mut std::ffi::c_void {
            // SAFETY: the pointers used through it are this call's arguments.
            let caller = unsafe { $crate::core::caller::Caller::new() };
            let pass = runtime::gate::Pass::$pass;
            $crate::api::entry::run(stringify!($name), pass, &caller, |$caller| $body)
                .unwrap_or(std::ptr::null_mut())
        }
        $crate::api::entry::entry! { $($rest)* }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident $(, $argument:ident: $type:ty)* $(,)?) -> nothing $body:block $($rest:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the OpenCL specification says of the parameters.
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $name($($argument: $type),*) {
            // SAFETY: the pointers used through it are this call's arguments.
            let caller = unsafe { $crate::core::caller::Caller::new() };
            let pass = runtime::gate::Pass::$pass;
            let answer = $crate::api::entry::run(stringify!($name), pass, &caller, |$caller| $body);
            if let Err(code) = answer {
                log::debug!(concat!(stringify!($name), ": error {}"), code);
            }
        }
        $crate::api::entry::entry! { $($rest)* }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident $(, $argument:ident: $type:ty)* $(,)?) -> object $body:block $($rest:tt)*) => {
        $crate::api::entry::entry! {
            @one $pass [$(#[$doc])*]
            $name($caller $(, $argument: $type)*) -> object_and_code {
                let body = || -> $crate::CLResult<*mut std::ffi::c_void> { $body };
                body().map(|object| (object, opencl_sys::CL_SUCCESS))
            }
            $($rest)*
        }
    };
    (@one $pass:ident [$(#[$doc:meta])*]
        $name:ident($caller:ident $(, $argument:ident: $type:ty)* $(,)?) -> object_and_code $body:block $($rest:tt)*) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the OpenCL specification says of the parameters.
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub unsafe extern "C" fn $name(
            $($argument: $type,)* errcode_ret: *mut opencl_sys::cl_int,
        ) -> *mut std::ffi::c_void {
            // SAFETY: the pointers used through it are this call's arguments.
            let caller = unsafe { $crate::core::caller::Caller::new() };
            let pass = runtime::gate::Pass::$pass;
            let answer = $crate::api::entry::run(stringify!($name), pass, &caller, |$caller| $body);
            $crate::api::entry::object(&caller, answer, errcode_ret)
        }
        $crate::api::entry::entry! { $($rest)* }
    };
}

pub(crate) use entry;
