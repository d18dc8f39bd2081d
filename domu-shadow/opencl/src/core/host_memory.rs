//! Host memory that the shadow lends to programs: what mapped buffers point into.
//!
//! It is ours and stays at its address over every move; the driver is never asked for a mapping.

use std::io;
use std::ptr::NonNull;

/// Reserves zero-filled memory for the life of the process; pages are backed when first touched.
pub fn reserve(bytes: usize) -> io::Result<usize> {
    let memory = HostMemory::new(bytes)?;
    let base = memory.address();
    std::mem::forget(memory);
    Ok(base)
}

/// Page-aligned, zero-filled, private memory; backed when first touched, given back when dropped.
#[derive(Debug)]
pub struct HostMemory {
    base: NonNull<libc::c_void>,
    bytes: usize,
}

// SAFETY: the value is only an address range; all access goes through the program's own pointers or the driver's.
unsafe impl Send for HostMemory {}
// SAFETY: as above, shared access hands out addresses only.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// # Errors
    /// The kernel's, where the address space has no room for `bytes`.
    pub fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choosing overlaps nothing.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base).ok_or_else(|| io::Error::other("mmap returned the null page"))?;
        Ok(HostMemory {
            base,
            bytes: bytes.max(1),
        })
    }

    pub fn address(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: the range is this value's own mapping; its owners (a buffer and the driver's object over it) are gone.
        unsafe { libc::munmap(self.base.as_ptr(), self.bytes) };
    }
}
