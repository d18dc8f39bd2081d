//! XenStore through libxenstore.

use std::ffi::{CStr, CString, c_void};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use crate::error::StoreError;
use crate::library;
use crate::sys::store::{self as sys, Api, XBT_NULL, xs_handle};

/// A watch that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// The node that changed (or the watched one, when the watch was just set).
    pub path: String,
    /// The token given with the watch.
    pub token: String,
}

/// Who may do what with a node. The first entry of a node's list names its owner, and what everybody else may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub domid: u16,
    pub read: bool,
    pub write: bool,
}

/// A connection to XenStore. In a guest, relative paths start at the guest's own home, `/local/domain/<domid>`.
///
/// Requests block until the store answers; [`Store::next_event`] never does. The first [`Store::watch`] makes
/// libxenstore start a reader thread, which has all signals blocked. During each request libxenstore sets the
/// process' disposition of `SIGPIPE` to "ignore" and then puts it back.
///
/// A child of `fork` must neither use nor drop the value, but call [`Store::abandon_after_fork`].
#[derive(Debug)]
pub struct Store {
    api: &'static Api,
    handle: NonNull<xs_handle>,
    /// Read end of the pipe that tells of queued events; the handle's property.
    event_fd: i32,
}

// SAFETY: libxenstore is built with threads: every operation takes the handle's locks.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Store {
    /// Connects: to the daemon's socket where there is one, else through `/dev/xen/xenbus`.
    ///
    /// # Errors
    /// [`StoreError::Library`], or [`StoreError::Open`] when there is no XenStore here.
    pub fn open() -> Result<Self, StoreError> {
        let api = library::store()?;
        // Events of a watch that was removed meanwhile are dropped rather than delivered late.
        // SAFETY: no preconditions.
        let handle = unsafe { (api.xs_open)(sys::XS_UNWATCH_FILTER.into()) };
        let handle =
            NonNull::new(handle).ok_or_else(|| StoreError::Open(io::Error::last_os_error()))?;
        // SAFETY: valid handle.
        let event_fd = unsafe { (api.xs_fileno)(handle.as_ptr()) };
        let this = Self {
            api,
            handle,
            event_fd,
        };
        if event_fd < 0 {
            return Err(StoreError::Open(io::Error::last_os_error()));
        }
        Ok(this)
    }

    /// The domain this process runs in.
    ///
    /// # Errors
    /// What reading the node `domid` said; [`StoreError::NotText`] when it holds no number.
    pub fn own_domid(&self) -> Result<u16, StoreError> {
        let path = "domid";
        let text = self.read_text(path)?.unwrap_or_default();
        text.trim()
            .parse()
            .map_err(|_| StoreError::NotText { path: path.into() })
    }

    /// The node's value, `None` when it does not exist.
    ///
    /// # Errors
    /// What the store answered.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_in(XBT_NULL, path)
    }

    /// The node's value as text, `None` when it does not exist.
    ///
    /// # Errors
    /// What the store answered, or [`StoreError::NotText`].
    pub fn read_text(&self, path: &str) -> Result<Option<String>, StoreError> {
        self.read_text_in(XBT_NULL, path)
    }

    /// Writes a value, making the node and its parents if they are missing.
    ///
    /// # Errors
    /// What the store answered (`EACCES`, `ENOSPC` when over quota, …).
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.write_in(XBT_NULL, path, value.as_ref())
    }

    /// Makes an empty node; one that exists is left as it is.
    ///
    /// # Errors
    /// What the store answered.
    pub fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        self.mkdir_in(XBT_NULL, path)
    }

    /// Removes a node and everything under it; one that does not exist is fine.
    ///
    /// # Errors
    /// What the store answered.
    pub fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.remove_in(XBT_NULL, path)
    }

    /// Names of the node's children; empty when the node does not exist.
    ///
    /// # Errors
    /// What the store answered.
    pub fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.directory_in(XBT_NULL, path)
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
                XBT_NULL,
                c_path.as_ptr(),
                &raw mut count,
            )
        };
        let list = self.node(NonNull::new(list), "get permissions", path)?;
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
                XBT_NULL,
                c_path.as_ptr(),
                list.as_mut_ptr(),
                list.len() as u32,
            )
        };
        self.done(done, "set permissions", path)
    }

    /// Asks for an event whenever the node or one under it changes. One event comes at once.
    ///
    /// # Errors
    /// What the store answered (`EEXIST` for the same path and token, `E2BIG` over quota).
    pub fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let (c_path, c_token) = (c_string(path)?, c_string(token)?);
        // SAFETY: valid handle and strings.
        let done =
            unsafe { (self.api.xs_watch)(self.handle.as_ptr(), c_path.as_ptr(), c_token.as_ptr()) };
        self.done(done, "watch", path)
    }

    /// Ends a watch and drops its events that were not taken yet.
    ///
    /// # Errors
    /// What the store answered (`ENOENT` when there is no such watch).
    pub fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let (c_path, c_token) = (c_string(path)?, c_string(token)?);
        // SAFETY: valid handle and strings.
        let done = unsafe {
            (self.api.xs_unwatch)(self.handle.as_ptr(), c_path.as_ptr(), c_token.as_ptr())
        };
        self.done(done, "unwatch", path)
    }

    /// The next watch event, `None` when there is none now. Call it until it says so: the descriptor stays readable
    /// only while events are queued.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the connection is gone; nothing more will come.
    pub fn next_event(&self) -> Result<Option<WatchEvent>, StoreError> {
        // SAFETY: valid handle. The result is one allocation: two pointers, then the strings they point to.
        let event = unsafe { (self.api.xs_check_watch)(self.handle.as_ptr()) };
        let Some(event) = NonNull::new(event) else {
            return match io::Error::last_os_error().raw_os_error() {
                Some(libc::EAGAIN) => Ok(None),
                _ => Err(StoreError::Lost),
            };
        };
        let text = |index: u32| {
            // SAFETY: xs_check_watch asserts that there are at least path and token, both NUL-terminated.
            unsafe { CStr::from_ptr(*event.as_ptr().add(index as usize)) }
                .to_string_lossy()
                .into_owned()
        };
        let result = WatchEvent {
            path: text(sys::xs_watch_type::XS_WATCH_PATH),
            token: text(sys::xs_watch_type::XS_WATCH_TOKEN),
        };
        free(event.cast());
        Ok(Some(result))
    }

    /// Throws the connection away in a child of `fork`, without a word to the store.
    pub fn abandon_after_fork(self) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards.
        unsafe { (this.api.xs_daemon_destroy_postfork)(this.handle.as_ptr()) };
    }

    pub(crate) fn read_in(
        &self,
        transaction: u32,
        path: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let c_path = c_string(path)?;
        let mut length = 0;
        // SAFETY: valid handle and string; the result is an allocation of at least `length` bytes, freed below.
        let value = unsafe {
            (self.api.xs_read)(
                self.handle.as_ptr(),
                transaction,
                c_path.as_ptr(),
                &raw mut length,
            )
        };
        match self.node(NonNull::new(value), "read", path) {
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

    pub(crate) fn read_text_in(
        &self,
        transaction: u32,
        path: &str,
    ) -> Result<Option<String>, StoreError> {
        let value = self.read_in(transaction, path)?;
        value
            .map(|v| String::from_utf8(v).map_err(|_| StoreError::NotText { path: path.into() }))
            .transpose()
    }

    pub(crate) fn write_in(
        &self,
        transaction: u32,
        path: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX); // refused by the library: E2BIG
        // SAFETY: valid handle and string; the library reads `length` bytes of `value`, or none when that is too many.
        let done = unsafe {
            (self.api.xs_write)(
                self.handle.as_ptr(),
                transaction,
                c_path.as_ptr(),
                value.as_ptr().cast(),
                length,
            )
        };
        self.done(done, "write", path)
    }

    pub(crate) fn mkdir_in(&self, transaction: u32, path: &str) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        // SAFETY: valid handle and string.
        let done =
            unsafe { (self.api.xs_mkdir)(self.handle.as_ptr(), transaction, c_path.as_ptr()) };
        self.done(done, "mkdir", path)
    }

    pub(crate) fn remove_in(&self, transaction: u32, path: &str) -> Result<(), StoreError> {
        let c_path = c_string(path)?;
        // SAFETY: valid handle and string.
        let done = unsafe { (self.api.xs_rm)(self.handle.as_ptr(), transaction, c_path.as_ptr()) };
        match self.done(done, "remove", path) {
            Err(e) if e.is_not_found() => Ok(()), // the store says so when the parent is missing too
            result => result,
        }
    }

    pub(crate) fn directory_in(
        &self,
        transaction: u32,
        path: &str,
    ) -> Result<Vec<String>, StoreError> {
        let c_path = c_string(path)?;
        let mut count = 0;
        // SAFETY: valid handle and string; the result is one allocation with `count` pointers to strings within it.
        let list = unsafe {
            (self.api.xs_directory)(
                self.handle.as_ptr(),
                transaction,
                c_path.as_ptr(),
                &raw mut count,
            )
        };
        match self.node(NonNull::new(list), "list", path) {
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

    pub(crate) fn transaction_start(&self) -> Result<u32, StoreError> {
        // SAFETY: valid handle.
        match unsafe { (self.api.xs_transaction_start)(self.handle.as_ptr()) } {
            XBT_NULL => Err(failed("transaction", "")),
            id => Ok(id),
        }
    }

    /// False when the store reports a conflict.
    pub(crate) fn transaction_end(
        &self,
        transaction: u32,
        abandon: bool,
    ) -> Result<bool, StoreError> {
        // SAFETY: valid handle, and a transaction that was started and not yet ended.
        match unsafe { (self.api.xs_transaction_end)(self.handle.as_ptr(), transaction, abandon) } {
            true => Ok(true),
            false => match failed("commit", "") {
                e if e.errno() == Some(libc::EAGAIN) => Ok(false),
                e => Err(e),
            },
        }
    }

    fn node<T>(
        &self,
        value: Option<NonNull<T>>,
        operation: &'static str,
        path: &str,
    ) -> Result<NonNull<T>, StoreError> {
        value.ok_or_else(|| failed(operation, path))
    }

    fn done(&self, done: bool, operation: &'static str, path: &str) -> Result<(), StoreError> {
        if done {
            Ok(())
        } else {
            Err(failed(operation, path))
        }
    }
}

impl AsFd for Store {
    /// Readable while watch events are queued; only for polling.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the pipe stays open as long as the handle, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.event_fd) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and not used again. Ends the reader thread, and with the connection all watches.
        unsafe { (self.api.xs_close)(self.handle.as_ptr()) };
    }
}

fn c_string(text: &str) -> Result<CString, StoreError> {
    CString::new(text).map_err(|_| StoreError::Nul(text.into()))
}

fn failed(operation: &'static str, path: &str) -> StoreError {
    StoreError::Node {
        operation,
        path: path.into(),
        source: io::Error::last_os_error(),
    }
}

fn free(allocation: NonNull<c_void>) {
    // SAFETY: every caller passes what a libxenstore function returned with "call free() on it".
    unsafe { libc::free(allocation.as_ptr()) };
}
