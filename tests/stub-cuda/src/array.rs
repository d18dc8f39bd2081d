//! Arrays: opaque memory of elements in one to three dimensions.

use std::ffi::c_uint;
use std::sync::Arc;

use crate::abi::*;
use crate::memory::backing::Backing;
use crate::table::{self, Table};

pub struct Array {
    pub context: Handle,
    pub shape: CUarray3DDescriptor,
    pub backing: Arc<Backing>,
}

static ARRAYS: Table<Array> = Table::new();

/// Bytes of one channel.
fn channel(format: c_uint) -> Outcome<u64> {
    match format {
        0x01 | 0x08 => Ok(1),
        0x02 | 0x09 | 0x10 => Ok(2),
        0x03 | 0x0a | 0x20 => Ok(4),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn create(context: Handle, device: usize, shape: CUarray3DDescriptor) -> Outcome<Handle> {
    if shape.width == 0 || !matches!(shape.channels, 1 | 2 | 4) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let line = shape.width as u64 * channel(shape.format)? * u64::from(shape.channels);
    let size = line * shape.height.max(1) as u64 * shape.depth.max(1) as u64;
    let handle = table::new_handle();
    let array = Array {
        context,
        shape,
        backing: Backing::new(Some(device), size)?,
    };
    ARRAYS.insert(handle, Arc::new(array));
    Ok(handle)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn get(array: Handle) -> Outcome<Arc<Array>> {
    ARRAYS.get(array).ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// # Errors
/// `CUDA_ERROR_INVALID_HANDLE`.
pub fn destroy(array: Handle) -> Outcome<()> {
    ARRAYS
        .remove(array)
        .map(drop)
        .ok_or(CUDA_ERROR_INVALID_HANDLE)
}

/// Ends those of a context.
pub fn destroy_all(context: Handle) {
    ARRAYS.retain(|array| array.context != context);
}

impl Array {
    /// Bytes of a line.
    pub fn pitch(&self) -> u64 {
        let channel = channel(self.shape.format).unwrap_or(1);
        self.shape.width as u64 * channel * u64::from(self.shape.channels)
    }

    /// Bytes of a plane.
    pub fn plane(&self) -> u64 {
        self.pitch() * self.shape.height.max(1) as u64
    }

    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for what ends outside: bytes of a line, lines.
    pub fn check(&self, width: usize, height: usize) -> Outcome<()> {
        match width as u64 <= self.pitch() && height <= self.shape.height.max(1) {
            true => Ok(()),
            false => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
}
