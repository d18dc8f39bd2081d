//! What can go wrong while moving.

use std::time::Duration;

use opencl_sys::cl_int;

use crate::delta::SinkError;

/// Why a step was not made. The step before it still holds.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Something that cannot be moved is in use; see the reason.
    #[error("this process cannot be migrated: {0}")]
    Blocked(String),
    #[error("another move of this process is in progress")]
    Busy,
    /// The program's commands did not end in time; the gate is open again.
    #[error("the program did not come to rest within {waited:?}: {why}")]
    NotQuiet { waited: Duration, why: String },
    /// The program released the buffer meanwhile.
    #[error("buffer {0} does not exist (any more)")]
    Gone(u64),
    #[error("bytes {offset}+{len} are not inside buffer {object} of {size} bytes")]
    OutOfRange {
        object: u64,
        offset: u64,
        len: u64,
        size: u64,
    },
    #[error("{what} failed with OpenCL error {code}")]
    Driver { what: &'static str, code: cl_int },
    /// Where contents are sent to; its own reason.
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("no OpenCL device here can take the place of \"{name}\" of \"{platform}\"")]
    NoDevice { name: String, platform: String },
}

/// Names the step that a driver refused.
pub(super) fn driver(what: &'static str) -> impl Fn(cl_int) -> MoveError {
    move |code| MoveError::Driver { what, code }
}
