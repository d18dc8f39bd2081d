//! Errors, each with the values an operator needs to act on it.

use std::io;

/// A Xen library could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {library}: {source} (is this a Xen domain with Xen's libraries installed?)")]
pub struct LibraryError {
    /// SONAME of the library.
    pub library: &'static str,
    /// What the dynamic linker said.
    pub source: libloading::Error,
}

/// Granting or mapping pages failed.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot open {device}: {source}")]
    Open {
        device: &'static str,
        source: io::Error,
    },
    /// `ENOSPC` of the gntalloc driver: its limit covers all programs of the guest together.
    #[error(
        "cannot share {pages} pages with domain {domid}: the guest's grant limit is reached \
         (raise /sys/module/xen_gntalloc/parameters/limit)"
    )]
    Limit { pages: usize, domid: u16 },
    #[error("cannot share {pages} pages with domain {domid}: {source}")]
    Share {
        pages: usize,
        domid: u16,
        source: io::Error,
    },
    #[error("cannot map {pages} granted pages of domain {domid}: {source}")]
    Map {
        pages: usize,
        domid: u16,
        source: io::Error,
    },
    #[error("cannot read a page that domain {domid} granted: {source}")]
    Copy { domid: u16, source: io::Error },
    #[error(
        "cannot read a page that domain {domid} granted: the hypervisor answers {status} (grant_table.h)"
    )]
    Status { domid: u16, status: i16 },
    #[error("cannot give back {pages} pages: {source}")]
    Release { pages: usize, source: io::Error },
}

/// Mapping another domain's memory failed.
#[derive(Debug, thiserror::Error)]
pub enum ForeignMemoryError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot open /dev/xen/privcmd: {0}")]
    Open(#[source] io::Error),
    #[error("cannot map {pages} pages of domain {domid}: {source}")]
    Map {
        pages: usize,
        domid: u32,
        source: io::Error,
    },
}

/// What a device model would do for a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceModelError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot open /dev/xen/privcmd: {0}")]
    Open(#[source] io::Error),
    #[error("cannot set ISA interrupt {irq} of domain {domid}: {source}")]
    IsaIrq {
        domid: u16,
        irq: u8,
        source: io::Error,
    },
}

/// An event channel operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EventChannelError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot open /dev/xen/evtchn: {0}")]
    Open(#[source] io::Error),
    #[error("cannot offer an event channel to domain {domid}: {source}")]
    Listen { domid: u16, source: io::Error },
    #[error("cannot bind to event channel {port} of domain {domid}: {source}")]
    Connect {
        domid: u16,
        port: u32,
        source: io::Error,
    },
    #[error("event channel port {port}: {operation} failed: {source}")]
    Port {
        port: u32,
        operation: &'static str,
        source: io::Error,
    },
}

/// A XenStore operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("cannot connect to XenStore: {0}")]
    Open(#[source] io::Error),
    #[error("XenStore: {operation} {path}: {source}")]
    Node {
        operation: &'static str,
        path: String,
        source: io::Error,
    },
    /// The argument cannot be passed to libxenstore; nothing was sent.
    #[error("XenStore: {0:?} contains a NUL byte")]
    Nul(String),
    /// The node's value is not text.
    #[error("XenStore: {path} does not hold UTF-8 text")]
    NotText { path: String },
    #[error("XenStore: a transaction met a conflict {0} times in a row")]
    Conflict(u32),
    #[error("XenStore: the connection is lost")]
    Lost,
}

impl StoreError {
    /// The error number of the store's answer, where it came from there.
    pub fn errno(&self) -> Option<i32> {
        match self {
            StoreError::Open(e) | StoreError::Node { source: e, .. } => e.raw_os_error(),
            _ => None,
        }
    }

    /// True when the node does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }

    /// True when this domain may not do that to the node.
    pub fn is_denied(&self) -> bool {
        matches!(self.errno(), Some(libc::EACCES | libc::EPERM))
    }
}
