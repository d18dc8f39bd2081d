//! A driver's errors as a move's.

use opencl_sys::cl_int;
use runtime::mover::MoveError;

/// Names the step that a driver refused.
pub(super) fn driver(what: &'static str) -> impl Fn(cl_int) -> MoveError {
    move |code| MoveError::Driver {
        api: "OpenCL",
        what,
        code,
    }
}
