//! Why a device cannot compare.

use runtime::delta::DriverError;

/// Why a device cannot compare: the caller falls back to sending whole blocks.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("the driver does not load the delta kernels ({0})")]
    Load(DriverError),
    #[error("the driver's compiler makes wrong code of the delta kernels: {0}")]
    Wrong(String),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("no randomness for the digests' keys: {0}")]
    Secret(#[from] std::io::Error),
}
