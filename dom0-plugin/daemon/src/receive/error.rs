//! Why a domain's GPU state did not arrive.

use spool::SpoolError;
use std::io;
use stream::StreamError;

/// A restore is refused, or failed; its images are dropped.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("a GPU record comes after SEAL")]
    AfterSeal,
    #[error("the stream ends without a seal: its GPU state is incomplete")]
    Unsealed,
    #[error("the GPU part of the stream is not complete")]
    Incomplete,
    #[error(transparent)]
    Image(#[from] SpoolError),
    #[error("the stream: {0}")]
    Descriptor(#[source] io::Error),
}
