//! Why RAM is not pre-copied.

use std::io;

use xen_bindings::ForeignMemoryError;

#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The stream may have been cut within a record.
    #[error("the stream cannot be written: {0}")]
    Stream(#[source] io::Error),
    #[error("the operation was cancelled")]
    Cancelled,
    /// The stream is sound; memory has to go out in libxc's way.
    #[error("{0}")]
    Unreadable(String),
}

impl From<ForeignMemoryError> for RamError {
    fn from(e: ForeignMemoryError) -> Self {
        RamError::Unreadable(e.to_string())
    }
}
