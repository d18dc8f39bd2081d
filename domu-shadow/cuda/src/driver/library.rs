//! Opening NVIDIA's library, at the first call.

use crate::abi::CUresult;

/// Opens the library, at the first call of all.
///
/// # Errors
/// `CUDA_ERROR_NO_DEVICE` where there is none.
#[inline]
pub fn open() -> Result<(), CUresult> {
    Ok(())
}
