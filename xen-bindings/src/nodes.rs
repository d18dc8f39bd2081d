//! Operations on XenStore's nodes.

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::ptr::NonNull;

use crate::error::StoreError;
use crate::sys::store::{self as sys, Api, xs_handle};

/// Who may do what with a node. The first entry of a node's list names its owner, and what everybody else may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub domid: u16,
    pub read: bool,
    pub write: bool,
}

/// The nodes as a connection sees them, or a transaction of it.
#[derive(Debug)]
pub struct Nodes {
    pub(crate) api: &'static Api,
    pub(crate) handle: NonNull<xs_handle>,
    /// `XBT_NULL` outside of one.
    pub(crate) transaction: u32,
}

// SAFETY: libxenstore is built with threads: every operation takes the handle's locks.
unsafe impl Send for Nodes {}
// SAFETY: as above.
unsafe impl Sync for Nodes {}

impl Nodes {
    /// The node's value, `None` when it does not exist.
    ///
    /// # Errors
    /// What the store answered.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let c_path = c_string(path)?;
        let mut length = 0;
        // SAFETY: valid handle and string; the result is an allocation of at least `length` bytes, freed below.
        let value = unsafe {
            (self.api.xs_read)(
                self.handle.as_ptr(),
                self.transaction,
                c_path.as_ptr(),
                &raw mut length,
            )
        };
        match NonNull::new(value).ok_or_else(|| failed("read", path)) {
            Ok(value) => {
                // SAFETY: the library returned `length` initialised bytes that nobody else has.
                let bytes = unsafe {
                    std::slice::from_raw_parts(value.as_ptr().cast::<u8>(), length as usize)
                }
                .to_vec();
                free(value);
                Ok(Some(bytes))
            }
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The node's value as text, `None` when it does not exist.
    ///
    /// # Errors
    /// What the store answered, or [`StoreError::NotText`].
    pub fn read_text(&self, path: &str) -> Result<Option<String>, StoreError> {
        let value = self.read(path)?;
        value
            .map(|v| String::from_utf8(v).map_err(|_| StoreError::NotText { path: path.into() }))
            .transpose()
    }

    /// Writes a value, making the node and its parents if they are missing.
    ///
    /// # Errors
    /// What the store answered (`EACCES`, `ENOSPC` when over quota, …).
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        let (c_path, value) = (c_string(path)?, value.as_ref());
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX); // refused by the library: E2BIG
        // SAFETY: valid handle and string; the library reads `length` bytes of `value`, or none when that is too many.
        let done = unsafe {
            (self.api.xs_write)(
                self.handle.as_ptr(),
                self.transaction,
                c_path.as_ptr(),
                value.as_ptr().cast(),
                length,
            )
        };
        checked(done, "write", path)
    }

    /// Makes an empty node; one that exists is left as it is.
    ///
    /// # Errors
    /// What the store answered.
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        // SAFETY: valid handle and string.
        let done =
            unsafe { (self.api.xs_mkdir)(self.handle.as_ptr(), self.transaction, c_path.as_ptr()) };
        checked(done, "mkdir", path)
    }

    /// Removes a node and everything under it; one that does not exist is fine.
    ///
    /// # Errors
    /// What the store answered.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        // SAFETY: valid handle and string.
        let done =
            unsafe { (self.api.xs_rm)(self.handle.as_ptr(), self.transaction, c_path.as_ptr()) };
        match checked(done, "remove", path) {
            Err(e) if e.is_not_found() => Ok(()), // the store says so when the parent is missing too
            result => result,
        }
    }

    /// Names of the node's children; empty when the node does not exist.
    ///
    /// # Errors
    /// What the store answered.
    pub fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let c_path = c_string(path)?;
        let mut count = 0;
        // SAFETY: valid handle and string; the result is one allocation with `count` pointers to strings within it.
        let list = unsafe {
            (self.api.xs_directory)(
                self.handle.as_ptr(),
                self.transaction,
                c_path.as_ptr(),
                &raw mut count,
            )
        };
        match NonNull::new(list).ok_or_else(|| failed("list", path)) {
            Ok(list) => {
                let name = |i| {
                    // SAFETY: `i` is below `count`; the strings are NUL-terminated.
                    unsafe { CStr::from_ptr(*list.as_ptr().add(i)) }
                        .to_string_lossy()
                        .into_owned()
                };
                let names = (0..count as usize).map(name).collect();
                free(list.cast());
                Ok(names)
            }
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// Who may do what with the node.
    ///
    /// # Errors
    /// What the store answered.
    pub fn permissions(&self, path: &str) -> Result<Vec<Permission>, StoreError> {
        let c_path = c_string(path)?;
        let mut count = 0;
        // SAFETY: valid handle and string; the result is an array of `count` entries, freed below.
        let list = unsafe {
            (self.api.xs_get_permissions)(
                self.handle.as_ptr(),
                self.transaction,
                c_path.as_ptr(),
                &raw mut count,
            )
        };
        let list = NonNull::new(list).ok_or_else(|| failed("get permissions", path))?;
        let permissions = (0..count as usize)
            .map(|i| {
                // SAFETY: `i` is below the length the library returned.
                let entry = unsafe { *list.as_ptr().add(i) };
                Permission {
                    domid: entry.id as u16,
                    read: entry.perms & sys::XS_PERM_READ != 0,
                    write: entry.perms & sys::XS_PERM_WRITE != 0,
                }
            })
            .collect();
        free(list.cast());
        Ok(permissions)
    }

    /// Replaces the node's permissions; the first entry is the owner.
    ///
    /// # Errors
    /// What the store answered.
    pub fn set_permissions(
        &self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        let mut list: Vec<_> = permissions
            .iter()
            .map(|p| sys::xs_permissions {
                id: p.domid.into(),
                perms: (if p.read { sys::XS_PERM_READ } else { 0 })
                    | (if p.write { sys::XS_PERM_WRITE } else { 0 }),
            })
            .collect();
        // SAFETY: valid handle, string and array of the length given.
        let done = unsafe {
            (self.api.xs_set_permissions)(
                self.handle.as_ptr(),
                self.transaction,
                c_path.as_ptr(),
                list.as_mut_ptr(),
                list.len() as u32,
            )
        };
        checked(done, "set permissions", path)
    }
}

pub(crate) fn c_string(text: &str) -> Result<CString, StoreError> {
    CString::new(text).map_err(|_| StoreError::Nul(text.into()))
}

pub(crate) fn checked(done: bool, operation: &'static str, path: &str) -> Result<(), StoreError> {
    match done {
        true => Ok(()),
        false => Err(failed(operation, path)),
    }
}

pub(crate) fn failed(operation: &'static str, path: &str) -> StoreError {
    StoreError::Node {
        operation,
        path: path.into(),
        source: io::Error::last_os_error(),
    }
}

pub(crate) fn free(allocation: NonNull<c_void>) {
    // SAFETY: every caller passes what a libxenstore function returned with "call free() on it".
    unsafe { libc::free(allocation.as_ptr()) };
}
