//! Host memory that transfers fill or empty.

use std::cell::UnsafeCell;

/// Memory that a driver may read and write while a transfer owns this value.
///
/// # Safety
/// `as_ptr` is valid for reads and writes of `len` bytes as long as the value lives, wherever the value is moved, and
/// no Rust reference to the bytes exists meanwhile.
pub unsafe trait HostBytes {
    fn as_ptr(&self) -> *mut u8;
    /// Bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Copies `bytes` into memory of a transfer.
pub fn put(to: &dyn HostBytes, offset: usize, bytes: &[u8]) {
    assert!(offset <= to.len() && bytes.len() <= to.len() - offset);
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: inside the memory, as checked above; it is valid for writes and no reference to it exists.
        unsafe { to.as_ptr().add(offset + at).write_volatile(*byte) };
    }
}

/// Fills `bytes` from memory of a transfer.
pub fn get(from: &dyn HostBytes, offset: usize, bytes: &mut [u8]) {
    assert!(offset <= from.len() && bytes.len() <= from.len() - offset);
    for (at, byte) in bytes.iter_mut().enumerate() {
        // SAFETY: inside the memory, as checked above; it is valid for reads and no reference to it exists.
        *byte = unsafe { from.as_ptr().add(offset + at).read_volatile() };
    }
}

/// Private memory on the heap: for tests, and for a session that copies.
pub struct OwnedBytes(Box<[UnsafeCell<u8>]>);

impl OwnedBytes {
    pub fn zeroed(bytes: usize) -> OwnedBytes {
        OwnedBytes::from(vec![0; bytes])
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.0.into_iter().map(UnsafeCell::into_inner).collect()
    }
}

impl From<Vec<u8>> for OwnedBytes {
    fn from(bytes: Vec<u8>) -> OwnedBytes {
        OwnedBytes(bytes.into_iter().map(UnsafeCell::new).collect())
    }
}

// SAFETY: a boxed slice stays where it is when the box moves; its bytes are cells, so no reference claims them.
unsafe impl HostBytes for OwnedBytes {
    fn as_ptr(&self) -> *mut u8 {
        UnsafeCell::raw_get(self.0.as_ptr())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
