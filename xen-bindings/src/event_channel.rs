//! One event channel port (`/dev/xen/evtchn`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;

use crate::error::EventChannelError;
use crate::sys::evtchn::{Api, xenevtchn_handle};
use crate::{library, logger};

/// A bound event channel port with a descriptor of its own: it is readable when an event is pending.
///
/// In a guest the port must be unbound (closed or dropped) before the guest is suspended. One that is still bound
/// across a completed migration makes the guest's kernel BUG when it is unbound or its process ends.
#[derive(Debug)]
pub struct EventChannel {
    api: &'static Api,
    handle: NonNull<xenevtchn_handle>,
    port: u32,
}

// SAFETY: libxenevtchn keeps no per-thread state.
unsafe impl Send for EventChannel {}
// SAFETY: every operation behind `&self` is one ioctl, read or write on the descriptor, which the kernel serialises.
unsafe impl Sync for EventChannel {}

impl EventChannel {
    /// Makes a port that domain `domid` may bind to; the guest's half.
    ///
    /// # Errors
    /// What opening the library or the device, or the ioctl, said.
    pub fn listen(domid: u16) -> Result<Self, EventChannelError> {
        // SAFETY: the handle is open.
        Self::bind(
            |api, handle| unsafe { (api.xenevtchn_bind_unbound_port)(handle, domid.into()) },
            |source| EventChannelError::Listen { domid, source },
        )
    }

    /// Binds to `port` of domain `domid`, which that domain made with [`EventChannel::listen`]; dom0's half.
    ///
    /// Xen marks the new port pending at once, so the first [`EventChannel::take_pending`] may be true without a
    /// notification by the peer.
    ///
    /// # Errors
    /// What opening the library or the device, or the ioctl, said.
    pub fn connect(domid: u16, port: u32) -> Result<Self, EventChannelError> {
        // SAFETY: the handle is open.
        Self::bind(
            |api, handle| unsafe { (api.xenevtchn_bind_interdomain)(handle, domid.into(), port) },
            |source| EventChannelError::Connect {
                domid,
                port,
                source,
            },
        )
    }

    fn bind(
        bind: impl FnOnce(&Api, *mut xenevtchn_handle) -> i32,
        failed: impl FnOnce(io::Error) -> EventChannelError,
    ) -> Result<Self, EventChannelError> {
        let api = library::evtchn()?;
        // SAFETY: the logger lives as long as the process; no flags are asked.
        let handle = NonNull::new(unsafe { (api.xenevtchn_open)(logger::quiet().cast(), 0) })
            .ok_or_else(|| EventChannelError::Open(io::Error::last_os_error()))?;
        let bound = u32::try_from(bind(api, handle.as_ptr()))
            .map_err(|_| failed(io::Error::last_os_error()))
            .and_then(|port| {
                let channel = Self { api, handle, port };
                channel.set_nonblocking()?;
                Ok(channel)
            });
        if matches!(
            bound,
            Err(EventChannelError::Listen { .. } | EventChannelError::Connect { .. })
        ) {
            // SAFETY: the handle is open, nothing is bound, and it is not used again.
            unsafe { (api.xenevtchn_close)(handle.as_ptr()) };
        }
        bound
    }

    /// The descriptor is this process' own (`O_CLOEXEC`), so the flag affects nobody else.
    fn set_nonblocking(&self) -> Result<(), EventChannelError> {
        let fd = self.raw_fd();
        // SAFETY: plain fcntl calls on the open descriptor.
        let result = unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags < 0 {
                flags
            } else {
                libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)
            }
        };
        self.check(result, "O_NONBLOCK")
    }

    /// The port's number in this domain.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Raises an event at the peer.
    ///
    /// # Errors
    /// What the ioctl said. A peer that is gone is not noticed.
    pub fn notify(&self) -> Result<(), EventChannelError> {
        // SAFETY: the handle is open and the port bound.
        let result = unsafe { (self.api.xenevtchn_notify)(self.handle.as_ptr(), self.port) };
        self.check(result, "notify")
    }

    /// Takes the pending event, if there is one, and lets the next one through. Never blocks; look at the shared
    /// memory after it, not before.
    ///
    /// # Errors
    /// What reading or unmasking said.
    pub fn take_pending(&self) -> Result<bool, EventChannelError> {
        // SAFETY: the handle is open.
        let port = unsafe { (self.api.xenevtchn_pending)(self.handle.as_ptr()) };
        let Ok(port) = u32::try_from(port) else {
            let source = io::Error::last_os_error();
            return match source.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(EventChannelError::Port {
                    port: self.port,
                    operation: "read",
                    source,
                }),
            };
        };
        // SAFETY: the handle is open and the port came from it.
        let result = unsafe { (self.api.xenevtchn_unmask)(self.handle.as_ptr(), port) };
        self.check(result, "unmask")?;
        Ok(port == self.port)
    }

    /// Unbinds the port and closes the device.
    ///
    /// # Errors
    /// What the unbind said; the device is closed in any case.
    pub fn close(self) -> Result<(), EventChannelError> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is neither used nor dropped afterwards, and owns nothing else.
        unsafe { this.release() }
    }

    /// # Safety
    /// At most once, and the handle is not used afterwards.
    unsafe fn release(&self) -> Result<(), EventChannelError> {
        // Closing alone would leave the port bound while a forked child holds a copy of the descriptor.
        // SAFETY: the handle is open and the port bound.
        let unbound = unsafe { (self.api.xenevtchn_unbind)(self.handle.as_ptr(), self.port) };
        let result = self.check(unbound, "unbind");
        // SAFETY: the handle is open and not used again.
        unsafe { (self.api.xenevtchn_close)(self.handle.as_ptr()) };
        result
    }

    fn raw_fd(&self) -> i32 {
        // SAFETY: the handle is open.
        unsafe { (self.api.xenevtchn_fd)(self.handle.as_ptr()) }
    }

    fn check(&self, result: i32, operation: &'static str) -> Result<(), EventChannelError> {
        match result {
            r if r >= 0 => Ok(()),
            _ => Err(EventChannelError::Port {
                port: self.port,
                operation,
                source: io::Error::last_os_error(),
            }),
        }
    }
}

impl AsFd for EventChannel {
    /// Poll it for reading; reading goes through [`EventChannel::take_pending`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as the handle, which outlives the borrow.
        unsafe { BorrowedFd::borrow_raw(self.raw_fd()) }
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once and nothing runs after it; `close` forgets the value.
        let _ = unsafe { self.release() };
    }
}
