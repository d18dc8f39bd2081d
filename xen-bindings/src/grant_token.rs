//! A page whose grant lasts as long as the process that made it, so that another domain can tell whether it still runs.
//!
//! A process that is killed says nothing to anybody. But the kernel ends the grants of its memory, and from then on the
//! page cannot be mapped. (`gntalloc_vma_close` in Linux' `drivers/xen/gntalloc.c`.)

use std::io;
use std::ptr::NonNull;

use crate::error::GrantError;
use crate::{GrantMap, GrantShare, PAGE_SIZE};

/// Length of a token's mark, in bytes.
pub const MARK: usize = 16;

/// A page of this process, granted read-only, with a mark in it. Ended by the drop, or with this process' memory: by its
/// end, however it comes, or by `execve`. Neither a child of `fork` nor a descriptor that it inherited keeps it.
#[derive(Debug)]
pub struct GrantToken {
    address: NonNull<u8>,
    reference: u32,
}

// SAFETY: nobody reads or writes the page through this value after it was made.
unsafe impl Send for GrantToken {}

impl GrantToken {
    /// Grants domain `domid` a page that starts with `mark`.
    ///
    /// # Errors
    /// As [`GrantShare::new`].
    pub fn new(domid: u16, mark: [u8; MARK]) -> Result<Self, GrantError> {
        let share = GrantShare::new(domid, 1, false)?;
        let reference = share.references()[0];
        let address = share.into_mapping();
        // SAFETY: the mapping has a page, writable on this side, and nobody has a reference to it.
        unsafe { address.cast::<[u8; MARK]>().write(mark) };
        Ok(Self { address, reference })
    }

    /// For [`is_gone`].
    pub fn reference(&self) -> u32 {
        self.reference
    }
}

impl Drop for GrantToken {
    fn drop(&mut self) {
        // SAFETY: the page was mapped for this value alone, and is not used again.
        unsafe { libc::munmap(self.address.as_ptr().cast(), PAGE_SIZE) };
    }
}

/// Whether the process that made token `reference` with `mark` in domain `domid` has certainly ended.
///
/// # Errors
/// [`GrantError`] where that cannot be told: the device cannot be opened, or this domain has no memory for the mapping.
pub fn is_gone(domid: u16, reference: u32, mark: [u8; MARK]) -> Result<bool, GrantError> {
    match GrantMap::new(domid, &[reference], false) {
        // SAFETY: a page is mapped, readable, until `map` is dropped; the array needs no alignment, and what the guest
        // makes of the bytes meanwhile decides about nobody but itself.
        Ok(map) => Ok(unsafe { map.as_ptr().cast::<[u8; MARK]>().read_volatile() } != mark),
        // What gntdev makes of every answer of the hypervisor's but `GNTST_okay`, once it has one.
        Err(GrantError::Map { source, .. }) if says_no(&source) => Ok(true),
        Err(e) => Err(e),
    }
}

fn says_no(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hypervisors_answer_is_proof() {
        assert!(says_no(&io::Error::from_raw_os_error(libc::EINVAL)));
        for other in [libc::ENOMEM, libc::EMFILE, libc::EAGAIN, libc::EPERM] {
            assert!(!says_no(&io::Error::from_raw_os_error(other)));
        }
    }
}
