//! Any pages of another domain, mapped into this process for reading (`/dev/xen/privcmd`).

use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;

use crate::error::ForeignMemoryError;
use crate::page::PAGE_SIZE;
use crate::sys::foreignmemory::{Api, xenforeignmemory_handle};
use crate::{library, logger};

/// An open handle; each thread that maps should have its own.
#[derive(Debug)]
pub struct ForeignMemory {
    api: &'static Api,
    handle: NonNull<xenforeignmemory_handle>,
}

// SAFETY: the library keeps no per-thread state.
unsafe impl Send for ForeignMemory {}

/// Pages of another domain, mapped until this value is dropped. They may change at any time.
#[derive(Debug)]
pub struct ForeignMap<'m> {
    memory: &'m ForeignMemory,
    address: NonNull<u8>,
    /// For each page 0, or why it is not there.
    errors: Vec<c_int>,
}

impl ForeignMemory {
    /// # Errors
    /// What opening the library or the device said.
    pub fn open() -> Result<Self, ForeignMemoryError> {
        let api = library::foreignmemory()?;
        // SAFETY: the logger lives as long as the process; no flags are set.
        let handle = unsafe { (api.xenforeignmemory_open)(logger::quiet().cast(), 0) };
        let handle = NonNull::new(handle)
            .ok_or_else(|| ForeignMemoryError::Open(io::Error::last_os_error()))?;
        Ok(Self { api, handle })
    }

    /// Maps `frames` of domain `domid`, one after the other: machine frames of a paravirtual guest, guest frames of any
    /// other. Those that cannot be mapped are missing, see [`ForeignMap::read`].
    ///
    /// # Errors
    /// [`ForeignMemoryError::Map`] when nothing could be mapped.
    pub fn map(&self, domid: u32, frames: &[u64]) -> Result<ForeignMap<'_>, ForeignMemoryError> {
        let mut errors = vec![0 as c_int; frames.len()];
        // SAFETY: the handle is open; both arrays have the given number of elements.
        let address = unsafe {
            (self.api.xenforeignmemory_map)(
                self.handle.as_ptr(),
                domid,
                libc::PROT_READ,
                frames.len() as _,
                frames.as_ptr(),
                errors.as_mut_ptr(),
            )
        };
        let address =
            NonNull::new(address.cast::<u8>()).ok_or_else(|| ForeignMemoryError::Map {
                pages: frames.len(),
                domid,
                source: io::Error::last_os_error(),
            })?;
        Ok(ForeignMap {
            memory: self,
            address,
            errors,
        })
    }
}

impl Drop for ForeignMemory {
    fn drop(&mut self) {
        // SAFETY: the handle is open, its mappings are gone (they borrow it), and it is not used again.
        unsafe { (self.api.xenforeignmemory_close)(self.handle.as_ptr()) };
    }
}

impl ForeignMap<'_> {
    /// Copies page `index` of the mapping out; false where it could not be mapped.
    pub fn read(&self, index: usize, to: &mut [u8; PAGE_SIZE]) -> bool {
        if self.errors.get(index) != Some(&0) {
            return false;
        }
        // SAFETY: the page is one of those mapped, `to` is private.
        unsafe {
            copy(
                self.address.as_ptr().add(index * PAGE_SIZE),
                to.as_mut_ptr(),
            )
        };
        true
    }
}

impl Drop for ForeignMap<'_> {
    fn drop(&mut self) {
        // SAFETY: the one mapping made with this address and number of pages; it is not used again.
        unsafe {
            (self.memory.api.xenforeignmemory_unmap)(
                self.memory.handle.as_ptr(),
                self.address.as_ptr().cast(),
                self.errors.len() as _,
            )
        };
    }
}

/// Copies a page by string instructions the compiler cannot see into: a concurrent writer is then not a data race of the
/// language.
///
/// # Safety
/// `from` must be readable and `to` writable for a page, and they must not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(from: *const u8, to: *mut u8) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") PAGE_SIZE / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// As above, where there are no string instructions.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(from: *const u8, to: *mut u8) {
    for i in 0..PAGE_SIZE {
        // SAFETY: i is within the page, and the caller's promise.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) }
    }
}
