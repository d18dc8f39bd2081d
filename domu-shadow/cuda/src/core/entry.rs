//! What every call passes, and the pattern of the functions that are ours.
//!
//! ```ignore
//! own! {
//!     /// What is special about it.
//!     fn cuMemFree_v2(at: CUdeviceptr) driver { … Result<(), CUresult> … }
//!     fn cuMemcpyHtoD_v2(to: CUdeviceptr, from: *const c_void, bytes: usize) contents { … }
//! }
//! ```
//!
//! `driver` functions pass the gate; `contents` ones also wait for contents that are on their way after a move; `jump` ones do neither.

use std::panic::{AssertUnwindSafe, catch_unwind};

use runtime::gate::{Inside, Pass};
use runtime::{residency, start};

use super::contents;
use crate::abi::{CUDA_ERROR_NOT_INITIALIZED, CUDA_ERROR_UNKNOWN, CUDA_SUCCESS, CUresult};
use crate::driver::library;

/// What a call needs before the driver may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The driver.
    Driver,
    /// The driver, and all contents of memory: the call may read or write any of it, or have the device do so.
    Contents,
}

/// Passes the gate, and opens the driver's library where no call has been before. The driver may be called until the answer is dropped.
///
/// # Errors
/// `CUDA_ERROR_NO_DEVICE` without a driver, `CUDA_ERROR_DEINITIALIZED` at the program's exit in the middle of a move, `CUDA_ERROR_NOT_INITIALIZED` in a child that was forked in the middle of a move.
#[inline]
pub fn enter(need: Need) -> Result<Inside, CUresult> {
    // A capture that is open has to come to its end before the gate can close.
    let inside = start::enter(Pass::Together).ok_or(CUDA_ERROR_NOT_INITIALIZED)?;
    library::open()?;
    if need == Need::Contents && residency::is_arriving_now() {
        contents::wait();
    }
    Ok(inside)
}

/// Runs the body of a function that is ours: a panic becomes an error, it never reaches the program's C code.
#[inline]
pub fn run(
    name: &'static str,
    need: Option<Need>,
    body: impl FnOnce() -> Result<(), CUresult>,
) -> CUresult {
    let _inside = match need.map(enter).transpose() {
        Ok(inside) => inside,
        Err(code) => return code,
    };
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => CUDA_SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => panicked(name),
    }
}

#[cold]
fn panicked(name: &'static str) -> CUresult {
    log::error!("{name}: internal error; the call fails with CUDA_ERROR_UNKNOWN");
    CUDA_ERROR_UNKNOWN
}

/// The driver's answer, for `?`.
///
/// # Errors
/// The code, unless it is `CUDA_SUCCESS`.
#[inline]
pub fn check(code: CUresult) -> Result<(), CUresult> {
    match code {
        CUDA_SUCCESS => Ok(()),
        code => Err(code),
    }
}

/// Functions that are ours, exported under their own names.
#[allow(unused_macros, reason = "the rooms above come later")]
macro_rules! own {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $need:ident $body:block)*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        /// As `cuda.h` says of the parameters.
        #[allow(non_snake_case, clippy::too_many_arguments)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $crate::abi::CUresult {
            let need = $crate::core::entry::own!(@need $need);
            $crate::core::entry::run(stringify!($name), need, || $body)
        }
    )*};
    (@need jump) => { None };
    (@need driver) => { Some($crate::core::entry::Need::Driver) };
    (@need contents) => { Some($crate::core::entry::Need::Contents) };
}

#[allow(unused_imports, reason = "for the rooms above")]
pub(crate) use own;
