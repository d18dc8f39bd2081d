//! Pages another domain granted, mapped into this process (`/dev/xen/gntdev`).

use std::io;
use std::ptr::NonNull;

use crate::error::GrantError;
use crate::page::PAGE_SIZE;
use crate::sys::gnttab::{Api, xengnttab_handle};
use crate::{library, logger};

/// A mapping of another domain's granted pages, one after the other, until this value is closed or dropped.
///
/// Two things to know about migration: what is written through the mapping enters Xen's log-dirty bitmap of the
/// granting domain only when it is unmapped, and a domain that dies while a grant is mapped stays as a zombie until
/// then. So close before the domain is suspended.
#[derive(Debug)]
pub struct GrantMap {
    api: &'static Api,
    handle: NonNull<xengnttab_handle>,
    address: NonNull<u8>,
    pages: usize,
}

// SAFETY: the library keeps no per-thread state, and the handle is only used by `&mut self`/`self` methods.
unsafe impl Send for GrantMap {}
// SAFETY: shared references only read plain fields; the pages are given out as a raw pointer.
unsafe impl Sync for GrantMap {}

/// Opens gntdev; the caller closes it.
pub(crate) fn open() -> Result<(&'static Api, NonNull<xengnttab_handle>), GrantError> {
    let api = library::gnttab()?;
    // SAFETY: the logger lives as long as the process; no flags are defined.
    let handle = NonNull::new(unsafe { (api.xengnttab_open)(logger::quiet().cast(), 0) });
    let handle = handle.ok_or_else(|| GrantError::Open {
        device: "/dev/xen/gntdev",
        source: io::Error::last_os_error(),
    })?;
    Ok((api, handle))
}

impl GrantMap {
    /// Maps the pages behind `references`, all granted by domain `domid`, in that order.
    ///
    /// # Errors
    /// [`GrantError::Map`] when a reference is not granted to this domain (or not writable, if `writable` is asked),
    /// or there are none; else what opening the library or the device said.
    pub fn new(domid: u16, references: &[u32], writable: bool) -> Result<Self, GrantError> {
        let pages = references.len();
        let count = match u32::try_from(pages) {
            Ok(count) if count > 0 => count,
            _ => {
                let source = io::Error::from_raw_os_error(libc::EINVAL);
                return Err(GrantError::Map {
                    pages,
                    domid,
                    source,
                });
            }
        };
        let (api, handle) = open()?;
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: the handle is open; the library only reads `count` references (the prototype lacks the const).
        let address = unsafe {
            (api.xengnttab_map_domain_grant_refs)(
                handle.as_ptr(),
                count,
                domid.into(),
                references.as_ptr().cast_mut(),
                protection,
            )
        };
        let Some(address) = NonNull::new(address.cast::<u8>()) else {
            let error = GrantError::Map {
                pages,
                domid,
                source: io::Error::last_os_error(),
            };
            // SAFETY: the handle is open, has mapped nothing, and is not used again.
            unsafe { (api.xengnttab_close)(handle.as_ptr()) };
            return Err(error);
        };
        Ok(Self {
            api,
            handle,
            address,
            pages,
        })
    }

    /// Start of the pages; valid for reads (and writes, if mapped so) of [`GrantMap::len`] bytes while this value
    /// lives. The peer may change the bytes at any time.
    pub fn as_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.pages * PAGE_SIZE
    }

    /// Unmaps the pages.
    ///
    /// # Errors
    /// [`GrantError::Release`]; the device is closed in any case.
    pub fn close(self) -> Result<(), GrantError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards, and owns nothing else.
        unsafe { this.release() }
    }

    /// # Safety
    /// At most once, and the pages and the handle are not used afterwards.
    unsafe fn release(&self) -> Result<(), GrantError> {
        // SAFETY: the range and count are those of the one mapping made with this handle.
        let unmapped = unsafe {
            (self.api.xengnttab_unmap)(
                self.handle.as_ptr(),
                self.address.as_ptr().cast(),
                self.pages as u32,
            )
        };
        let result = match unmapped {
            0 => Ok(()),
            _ => Err(GrantError::Release {
                pages: self.pages,
                source: io::Error::last_os_error(),
            }),
        };
        // SAFETY: the handle is open and not used again.
        unsafe { (self.api.xengnttab_close)(self.handle.as_ptr()) };
        result
    }
}

impl Drop for GrantMap {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once and nothing runs after it; `close` forgets the value.
        let _ = unsafe { self.release() };
    }
}
