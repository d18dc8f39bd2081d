//! XenStore through libxenstore.

use std::ffi::CStr;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use crate::error::StoreError;
use crate::library;
use crate::nodes::{Nodes, c_string, checked, free};
use crate::sys::store::{self as sys, XBT_NULL};

/// A watch that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// The node that changed (or the watched one, when the watch was just set).
    pub path: String,
    /// The token given with the watch.
    pub token: String,
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
    nodes: Nodes,
    /// Read end of the pipe that tells of queued events; the handle's property.
    event_fd: i32,
}

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
        let nodes = Nodes {
            api,
            handle,
            transaction: XBT_NULL,
        };
        let this = Self { nodes, event_fd };
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

    /// Asks for an event whenever the node or one under it changes. One event comes at once.
    ///
    /// # Errors
    /// What the store answered (`EEXIST` for the same path and token, `E2BIG` over quota).
    pub fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let (c_path, c_token) = (c_string(path)?, c_string(token)?);
        // SAFETY: valid handle and strings.
        let done =
            unsafe { (self.api.xs_watch)(self.handle.as_ptr(), c_path.as_ptr(), c_token.as_ptr()) };
        checked(done, "watch", path)
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
        checked(done, "unwatch", path)
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
}

impl Deref for Store {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        &self.nodes
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
