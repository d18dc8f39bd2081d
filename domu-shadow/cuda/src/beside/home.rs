//! A context of the program's, current on our thread for the time of a call.

use std::cell::Cell;
use std::ffi::c_uint;
use std::ptr;
use std::sync::Arc;

use channel::image::Api;
use runtime::delta::DriverError;
use runtime::delta::device::Result;

use crate::abi::*;
use crate::core::context::Context;
use crate::core::obstacles;
use crate::core::pins::Pushed;

/// Names the call that failed.
///
/// # Errors
/// Unless `code` is `CUDA_SUCCESS`.
pub fn named(call: &'static str, code: CUresult) -> Result<()> {
    match code {
        CUDA_SUCCESS => Ok(()),
        code => Err(failed(call, code)),
    }
}

/// An error of the driver's.
pub fn failed(call: &'static str, code: CUresult) -> DriverError {
    let api = Api::CUDA;
    DriverError { api, call, code }
}

/// Says that the driver did not do what it was asked for, unless the program's context has gone or is broken: then nothing works in it.
pub fn complain(what: &str, error: &DriverError) {
    obstacles::note_error(error.code);
    if error.code == CUDA_ERROR_CONTEXT_IS_DESTROYED || obstacles::is_fatal(error.code) {
        log::info!("{what}{error}");
    } else {
        log::warn!("{what}{error}");
    }
}

/// Calls a function of the driver's, `Err` with its name where it fails. The arguments have to be what `cuda.h` says.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: pointers among the arguments are to variables of the caller's that live through the call, or the caller's contract
        // says that they are valid; handles are the driver's own, and live.
        let code = unsafe { $crate::driver::functions::driver().$name($($argument),*) };
        $crate::beside::home::named(stringify!($name), code)
    }};
}
pub(crate) use call;

/// A context of the program's that our calls are made in.
#[derive(Clone, Debug)]
pub struct Home(Arc<Context>);

thread_local! {
    /// The context that this thread has entered last, of those that it has not left.
    static INSIDE: Cell<*const Context> = const { Cell::new(ptr::null()) };
}

/// The context is current on this thread until this is dropped, those entered later before it.
pub struct Entered {
    _outermost: Option<Outermost>,
}

/// The first of several of one context.
struct Outermost {
    /// What the thread was inside of before.
    outside: *const Context,
    /// The thread's mode before.
    mode: c_uint,
    // Popped last.
    _pushed: Pushed,
}

impl Home {
    pub fn new(context: Arc<Context>) -> Home {
        Home(context)
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.0
    }

    /// Makes it current. Captures that the program has begun in global mode neither forbid our calls meanwhile nor end by them.
    ///
    /// That is four calls of the driver's. A thread that is inside already makes none: who polls, or has much to do, enters first.
    ///
    /// # Errors
    /// `CUDA_ERROR_CONTEXT_IS_DESTROYED`, the driver's.
    pub fn enter(&self) -> Result<Entered> {
        let this = Arc::as_ptr(&self.0);
        if INSIDE.get() == this {
            return Ok(Entered { _outermost: None });
        }
        let destroyed = || failed("cuCtxPushCurrent", CUDA_ERROR_CONTEXT_IS_DESTROYED);
        let pushed = self.0.push().ok_or_else(destroyed)?;
        let mut mode = CU_STREAM_CAPTURE_MODE_RELAXED;
        call!(cuThreadExchangeStreamCaptureMode(&raw mut mode))?;
        let outermost = Outermost {
            outside: INSIDE.replace(this),
            mode,
            _pushed: pushed,
        };
        Ok(Entered {
            _outermost: Some(outermost),
        })
    }
}

impl Drop for Outermost {
    fn drop(&mut self) {
        INSIDE.set(self.outside);
        let mode = &raw mut self.mode;
        if let Err(error) = call!(cuThreadExchangeStreamCaptureMode(mode)) {
            log::debug!("{error}");
        }
    }
}
