//! What can go wrong while moving.

use std::time::Duration;

use channel::BoxError;
use channel::guest::StepError;
use channel::image::Api;

use crate::reserve::Short;

/// Why a step was not made. The step before it still holds.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Something that cannot be moved is in use; see the reason.
    #[error("this process cannot be migrated: {0}")]
    Blocked(String),
    /// The process may not have what the way back needs.
    #[error("this process cannot be migrated: it could not come back without {0}")]
    NoHeadroom(#[source] Short),
    #[error("another move of this process is in progress")]
    Busy,
    /// The program's commands did not end in time; the gate is open again.
    #[error("the program did not come to rest within {waited:?}: {why}")]
    NotQuiet { waited: Duration, why: BoxError },
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
    #[error("{what} failed with {api} error {code}")]
    Driver {
        api: Api,
        what: &'static str,
        code: i32,
    },
    /// Where contents are sent to; its own reason.
    #[error(transparent)]
    Sink(#[from] StepError),
    #[error("no {api} device here can take the place of \"{name}\" of \"{platform}\"")]
    NoDevice {
        api: Api,
        name: String,
        platform: String,
    },
}
