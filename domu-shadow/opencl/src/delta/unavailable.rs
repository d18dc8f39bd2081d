//! Why a device cannot compare.

use runtime::delta::DriverError;

/// Why a device cannot compare: the caller falls back to sending whole buffers.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("the device's compiler does not take the delta kernels ({error}): {log}")]
    Build { error: DriverError, log: String },
    #[error("the device's compiler makes wrong code of the delta kernels: {0}")]
    Wrong(String),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("no randomness for the digests' keys: {0}")]
    Secret(#[from] std::io::Error),
}
