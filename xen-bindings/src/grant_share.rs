//! Pages this domain grants to another one (`/dev/xen/gntalloc`).

use std::io;
use std::ptr::NonNull;

use crate::error::GrantError;
use crate::page::PAGE_SIZE;
use crate::sys::gnttab::{Api, xengntshr_handle};
use crate::{library, logger};

/// Zeroed pages that another domain may map, until this value is closed or dropped.
///
/// The kernel ends a grant that the other side still maps only when it unmaps; closing here does not fail for that.
/// A child of `fork` does not inherit the pages (`MADV_DONTFORK`), and must not close or drop the value.
#[derive(Debug)]
pub struct GrantShare {
    api: &'static Api,
    handle: NonNull<xengntshr_handle>,
    address: NonNull<u8>,
    references: Vec<u32>,
}

// SAFETY: the library keeps no per-thread state, and the handle is only used by `&mut self`/`self` methods.
unsafe impl Send for GrantShare {}
// SAFETY: shared references only read plain fields; the pages are given out as a raw pointer.
unsafe impl Sync for GrantShare {}

impl GrantShare {
    /// Shares `pages` pages (1 and up) with domain `domid`, which may write them if `writable`.
    ///
    /// # Errors
    /// [`GrantError::Limit`] when the guest's limit for gntalloc (1024 pages by default, all programs together) does
    /// not allow that many; else what opening the library or the device, or the ioctl, said.
    pub fn new(domid: u16, pages: usize, writable: bool) -> Result<Self, GrantError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOSPC) => GrantError::Limit { pages, domid },
            _ => GrantError::Share {
                pages,
                domid,
                source,
            },
        };
        let count = match i32::try_from(pages) {
            Ok(count) if count > 0 => count,
            _ => return Err(failed(io::Error::from_raw_os_error(libc::EINVAL))),
        };
        let api = library::gnttab()?;
        // SAFETY: the logger lives as long as the process; no flags are defined.
        let handle = NonNull::new(unsafe { (api.xengntshr_open)(logger::quiet().cast(), 0) })
            .ok_or_else(|| GrantError::Open {
                device: "/dev/xen/gntalloc",
                source: io::Error::last_os_error(),
            })?;
        // The library opens this device without O_CLOEXEC (so up to Xen 4.22).
        // SAFETY: the handle is open; plain fcntl on its descriptor.
        unsafe {
            libc::fcntl(
                (api.xengntshr_fd)(handle.as_ptr()),
                libc::F_SETFD,
                libc::FD_CLOEXEC,
            )
        };
        let mut references = vec![0u32; pages];
        // SAFETY: the handle is open and `references` has room for `count` entries.
        let address = unsafe {
            (api.xengntshr_share_pages)(
                handle.as_ptr(),
                domid.into(),
                count,
                references.as_mut_ptr(),
                writable.into(),
            )
        };
        let Some(address) = NonNull::new(address.cast::<u8>()) else {
            let error = failed(io::Error::last_os_error());
            // SAFETY: the handle is open, has shared nothing, and is not used again.
            unsafe { (api.xengntshr_close)(handle.as_ptr()) };
            return Err(error);
        };
        // A forked child that inherited the mapping would keep the grants alive after this process ended them.
        // SAFETY: the range is the mapping just made. Failure (an old kernel) only loses that courtesy.
        unsafe {
            libc::madvise(
                address.as_ptr().cast(),
                pages * PAGE_SIZE,
                libc::MADV_DONTFORK,
            )
        };
        Ok(Self {
            api,
            handle,
            address,
            references,
        })
    }

    /// One grant reference per page, in the order of the pages.
    pub fn references(&self) -> &[u32] {
        &self.references
    }

    /// Start of the pages; valid for reads and writes of [`GrantShare::len`] bytes while this value lives. The peer
    /// may change the bytes at any time.
    pub fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.references.len() * PAGE_SIZE
    }

    /// Closes the device and leaves the mapping, which the caller unmaps: that, or the end of this process' memory, ends the
    /// grants.
    pub(crate) fn into_mapping(self) -> NonNull<u8> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the handle is open; `this` is neither used nor dropped afterwards, and its vector is read out once.
        unsafe {
            (this.api.xengntshr_close)(this.handle.as_ptr());
            drop(std::ptr::read(&raw const this.references));
        }
        this.address
    }

    /// Unmaps the pages and ends the grants.
    ///
    /// # Errors
    /// [`GrantError::Release`]; the device is closed in any case.
    pub fn close(self) -> Result<(), GrantError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards; its vector is read out for dropping.
        let result = unsafe { this.release() };
        // SAFETY: as above; read once.
        drop(unsafe { std::ptr::read(&raw const this.references) });
        result
    }

    /// # Safety
    /// At most once, and the pages and the handle are not used afterwards.
    unsafe fn release(&self) -> Result<(), GrantError> {
        let pages = self.references.len();
        // SAFETY: the range and count are those `xengntshr_share_pages` returned for this handle.
        let unshared = unsafe {
            (self.api.xengntshr_unshare)(
                self.handle.as_ptr(),
                self.address.as_ptr().cast(),
                pages as u32,
            )
        };
        let result = match unshared {
            0 => Ok(()),
            _ => Err(GrantError::Release {
                pages,
                source: io::Error::last_os_error(),
            }),
        };
        // SAFETY: the handle is open and not used again. Closing ends what unsharing left.
        unsafe { (self.api.xengntshr_close)(self.handle.as_ptr()) };
        result
    }
}

impl Drop for GrantShare {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once and nothing runs after it; `close` forgets the value.
        let _ = unsafe { self.release() };
    }
}
