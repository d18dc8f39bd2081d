//! A driver's errors as a move's.

use channel::image::Api;
use runtime::delta::DriverError;
use runtime::mover::MoveError;

use crate::abi::CUDA_ERROR_OUT_OF_MEMORY;
use crate::core::memory::MemoryError;

/// Names the call that failed.
pub(super) fn driver(error: DriverError) -> MoveError {
    MoveError::Driver {
        api: error.api,
        what: error.call,
        code: error.code,
    }
}

/// Memory did not come back; which, the log says.
pub(super) fn memory(error: MemoryError) -> MoveError {
    let (what, code) = match error {
        MemoryError::Driver { what, code, .. } => (what, code),
        MemoryError::InUse => (
            "giving device memory back at its address",
            CUDA_ERROR_OUT_OF_MEMORY,
        ),
    };
    let api = Api::CUDA;
    MoveError::Driver { api, what, code }
}

/// Memory that is there and cannot be reached: the driver has no room to map it, or does not make its context current.
pub(super) fn out_of_reach() -> MoveError {
    MoveError::Driver {
        api: Api::CUDA,
        what: "reaching device memory that the program has not mapped whole",
        code: CUDA_ERROR_OUT_OF_MEMORY,
    }
}
