//! A driver's errors as a move's.

use channel::image::Api;
use opencl_sys::cl_int;
use runtime::mover::MoveError;

/// Names the step that a driver refused.
pub(super) fn driver(what: &'static str) -> impl Fn(cl_int) -> MoveError {
    move |code| MoveError::Driver {
        api: Api::OPENCL,
        what,
        code,
    }
}
