//! What is wrong with a saved domain, and where.

use std::io;

use channel::image::{ManifestError, SessionKey};
use thiserror::Error;

use crate::error::StreamError;
use crate::libxc::ImageError;

/// The first thing that is wrong.
#[derive(Debug, Error)]
#[error("at byte {offset}: {fault}")]
pub struct VerifyError {
    /// Where in the input, in bytes: start of the part that is wrong.
    pub offset: u64,
    /// What is wrong there.
    pub fault: VerifyFault,
}

/// What can be wrong.
#[derive(Debug, Error)]
pub enum VerifyFault {
    #[error("cannot read: {0}")]
    Io(io::Error),
    #[error("ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("neither an `xl save` file nor a libxl or libxc stream (starts with {0:02x?})")]
    NotAStream([u8; 8]),
    #[error("an xl header this program does not know: {0}")]
    XlHeader(String),
    #[error("a libxl stream this program does not know: {0}")]
    LibxlHeader(String),
    #[error("a libxc image this program does not know: {0}")]
    LibxcHeader(#[from] ImageError),
    #[error("{layer} record {record_type:#010x} of {length} bytes: {problem}")]
    Record {
        layer: &'static str,
        record_type: u32,
        length: u32,
        problem: &'static str,
    },
    #[error(transparent)]
    Gpu(#[from] StreamError),
    #[error("session {key}: {error}")]
    Manifest {
        key: SessionKey,
        error: ManifestError,
    },
}
