//! Why a domain's GPU state did not arrive.

use spool::SpoolError;
use std::io;
use stream::StreamError;

/// A restore is refused, or failed; its images are dropped.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// A record is wrong, or could not be kept.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// GPU records go on behind their end.
    #[error("a GPU record comes after SEAL")]
    AfterSeal,
    /// libxc's END came first.
    #[error("the stream ends without a seal: its GPU state is incomplete")]
    Unsealed,
    /// The toolstack takes the domain for whole.
    #[error("the GPU part of the stream is not complete")]
    Incomplete,
    /// An image is not what its manifest says, or cannot be kept.
    #[error(transparent)]
    Image(#[from] SpoolError),
    /// The descriptor that came with the request is of no use.
    #[error("the stream: {0}")]
    Descriptor(#[source] io::Error),
}
