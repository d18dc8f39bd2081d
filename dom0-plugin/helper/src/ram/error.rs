//! Why RAM is not pre-copied.

use std::io;

use xen_bindings::ForeignMemoryError;

#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The stream may have been cut within a record.
    #[error("the stream cannot be written: {0}")]
    Stream(io::Error),
    #[error("the operation was cancelled")]
    Cancelled,
    #[error("the stream cannot be opened anew: {0}")]
    Reopen(io::Error),
    #[error(transparent)]
    Memory(#[from] ForeignMemoryError),
    #[error("libxenctrl lacks a function that is needed")]
    NoFunction,
    #[error("its size is not known: {0}")]
    Size(io::Error),
    #[error("its p2m table cannot be mapped: {0}")]
    P2m(io::Error),
    #[error("it has {now} pages now, and had {before}")]
    Resized { now: usize, before: usize },
    #[error("what pages from {first:#x} on are: {error}")]
    Types { first: usize, error: io::Error },
    #[error("no random numbers: /dev/urandom: {0}")]
    Random(io::Error),
    #[error("libxc has {0} buffers of the bitmap's size")]
    Bitmaps(usize),
    #[error("libxc's bitmap is not all ones before the first round")]
    BitmapNotFull,
    #[error("libxc is to send {dirty_count} pages, and the guest has {pfns}")]
    FirstRound { dirty_count: i64, pfns: usize },
}

impl RamError {
    /// The stream is of no more use; after any other error it is sound, and memory has to go out in libxc's way.
    pub fn is_of_the_stream(&self) -> bool {
        matches!(self, RamError::Stream(_) | RamError::Cancelled)
    }
}
