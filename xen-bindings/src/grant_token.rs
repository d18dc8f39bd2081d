//! A page whose grant lasts as long as the process that made it, so that another domain can tell whether it still runs.
//!
//! A process that is killed says nothing to anybody. But the kernel ends the grants of its memory, and from then on the
//! page cannot be mapped. (`gntalloc_vma_close` in Linux' `drivers/xen/gntalloc.c`.)

use std::io;
use std::ptr::NonNull;

use crate::error::GrantError;
use crate::grant_map;
use crate::grant_share::GrantShare;
use crate::page::PAGE_SIZE;
use crate::sys::gnttab::*;

/// Length of a token's mark, in bytes.
pub const MARK: usize = 16;

/// A page of this process, granted read-only, with a mark in it. Ended by the drop, or with this process' memory: by its
/// end, however it comes, or by `execve`. A child of `fork` does not keep it, unless the fork falls into the call that makes it.
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

/// Whether the process that made token `reference` with `mark` in domain `domid` has ended: the hypervisor says that this page is
/// not granted, or it is another one.
///
/// By a copy, not a mapping: that takes no entry of a table that may be full, and keeps neither grant nor domain alive.
///
/// # Errors
/// [`GrantError`] where that cannot be told: the device cannot be opened or does not copy, or the hypervisor gives another reason.
pub fn is_gone(domid: u16, reference: u32, mark: [u8; MARK]) -> Result<bool, GrantError> {
    let (api, handle) = grant_map::open()?;
    let mut found = [0u8; MARK];
    let mut copy = xengnttab_grant_copy_segment {
        source: xengnttab_grant_copy_segment_xengnttab_copy_ptr {
            foreign: xengnttab_grant_copy_segment_xengnttab_copy_ptr__bindgen_ty_1 {
                ref_: reference,
                offset: 0,
                domid,
            },
        },
        dest: xengnttab_grant_copy_segment_xengnttab_copy_ptr {
            virt: found.as_mut_ptr().cast(),
        },
        len: MARK as u16,
        flags: GNTCOPY_source_gref as u16,
        status: 0,
    };
    // SAFETY: the handle is open, and the one segment's destination has room for its length.
    let answer = unsafe { (api.xengnttab_grant_copy)(handle.as_ptr(), 1, &raw mut copy) };
    let source = io::Error::last_os_error();
    // SAFETY: the handle is open and not used again.
    unsafe { (api.xengnttab_close)(handle.as_ptr()) };
    match answer {
        0 => verdict(copy.status, found == mark).ok_or(GrantError::Status {
            domid,
            status: copy.status,
        }),
        _ => Err(GrantError::Copy { domid, source }),
    }
}

/// By what the hypervisor answers (`grant_table.h`): no such reference, or (`acquire_grant_for_copy` in Xen's
/// `common/grant_table.c`) a reference whose entry grants nothing to this domain. `None` for another answer.
fn verdict(status: i16, is_same: bool) -> Option<bool> {
    const NOT_THERE: [i32; 2] = [GNTST_bad_gntref, GNTST_general_error];
    match i32::from(status) {
        0 => Some(!is_same), // GNTST_okay
        status if NOT_THERE.contains(&status) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_grant_that_is_not_there_is_proof() {
        assert!(!verdict(0, true).unwrap());
        assert!(verdict(0, false).unwrap(), "another page by that number");
        assert!(verdict(GNTST_bad_gntref as i16, false).unwrap());
        for other in [
            GNTST_bad_domain,
            GNTST_no_device_space,
            GNTST_permission_denied,
            GNTST_eagain,
        ] {
            assert!(verdict(other as i16, false).is_none(), "{other}");
        }
    }
}
