//! The restoring side: `xc_domain_restore`, and `read_exact` while it runs.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use xen_bindings::guest::xc_stream_type_t;

use super::client::{Client, ClientError};
use super::errno;
use super::messages::say;
use super::originals::{self, Originals};
use super::slots::ReadHook;
use super::stream_cursor::{Part, StreamCursor};
use super::stream_fd::StreamFd;
use protocol::conversation::Done;
use protocol::helper::{HandedBack, Request};
use stream::libxc::{END, IMAGE_HEADER_BYTES};
use stream::{RecordHeader, TYPE_DATA, TYPE_HEAD, TYPE_SEAL};

/// The record types of the GPU's image.
const OURS: [u32; 3] = [TYPE_HEAD, TYPE_DATA, TYPE_SEAL];

/// How long the daemon may take to answer at all.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// How long it may read records, or put an image away, without a word.
const WORK: Duration = Duration::from_secs(120);

/// Why libxenguest gets no more of the stream.
#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error("the stream carries GPU state that cannot be taken: {0}")]
    NotTaken(ClientError),
    #[error("its GPU state did not arrive: {0}")]
    NotComplete(ClientError),
    #[error("libxenguest does not read the stream as expected")]
    UnexpectedRead,
}

/// The restore that runs in this process.
static RUNNING: Mutex<Option<Restore>> = Mutex::new(None);

struct Restore {
    domid: u32,
    stream: StreamFd,
    fd: c_int,
    cursor: StreamCursor,
    /// There from the first GPU record on.
    client: Option<Client>,
    /// A GPU record was met, so the image must be complete at the end.
    has_image: bool,
    failed: bool,
}

/// In front of libxenguest's function.
///
/// # Safety
/// As `xc_domain_restore`. Up to Xen 4.21 the caller gives no `memflags`: what stands in its place is passed on to a
/// function that does not look.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn xc_domain_restore(
    xch: *mut c_void,
    io_fd: c_int,
    domid: u32,
    store_evtchn: c_uint,
    store_mfn: *mut c_ulong,
    store_domid: u32,
    console_evtchn: c_uint,
    console_mfn: *mut c_ulong,
    console_domid: u32,
    stream_type: xc_stream_type_t::Type,
    callbacks: *mut c_void,
    send_back_fd: c_int,
    memflags: c_uint,
) -> c_int {
    let Some(originals) = originals::get() else {
        return -1;
    };
    let entered_with = errno::get();
    let memflags = if originals.version.has_restore_memflags() {
        memflags
    } else {
        0
    };
    // No sender of ours puts records into a Remus or COLO stream.
    let hook = (stream_type == xc_stream_type_t::XC_STREAM_PLAIN)
        // SAFETY: libxl's descriptor is open during the call.
        .then(|| catch_unwind(|| begin(domid, io_fd, unsafe { StreamFd::new(io_fd) })).ok())
        .flatten();
    errno::set(entered_with); // libxc's messages quote it, stale or not
    // SAFETY: the caller's own arguments. A parameter too many does no harm in this calling convention.
    let rc = unsafe {
        (originals.restore)(
            xch,
            io_fd,
            domid,
            store_evtchn,
            store_mfn,
            store_domid,
            console_evtchn,
            console_mfn,
            console_domid,
            stream_type,
            callbacks,
            send_back_fd,
            memflags,
        )
    };
    let error = errno::get();
    drop(hook);
    // A fault here must not let a domain start without its GPU state.
    let rc = catch_unwind(|| end(rc)).unwrap_or(-1);
    errno::set(error);
    rc
}

fn begin(domid: u32, fd: c_int, stream: StreamFd) -> ReadHook {
    let restore = Restore {
        domid,
        stream,
        fd,
        cursor: StreamCursor::start(),
        client: None,
        has_image: false,
        failed: false,
    };
    *running() = Some(restore);
    ReadHook::set(read_exact)
}

fn end(rc: c_int) -> c_int {
    let Some(mut restore) = running().take() else {
        return rc;
    };
    let rc = if rc == 0 && restore.failed { -1 } else { rc };
    let Some(client) = restore.client.as_mut() else {
        return rc;
    };
    match client.call::<Done>(&Request::Done { rc, ram: None }, None, WORK, &|| false) {
        Ok(_) => rc,
        Err(e) => {
            say!(
                Error,
                "domain {}: its GPU state was not accepted: {e}",
                restore.domid
            );
            -1
        }
    }
}

fn running() -> std::sync::MutexGuard<'static, Option<Restore>> {
    RUNNING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// In front of libxenctrl's function while a domain is restored.
///
/// # Safety
/// As `read_exact`: `data` has room for `size` bytes.
unsafe extern "C" fn read_exact(fd: c_int, data: *mut c_void, size: usize) -> c_int {
    let Some(originals) = originals::get() else {
        return -1;
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut running = running();
        match running.as_mut() {
            // SAFETY: the caller's promise.
            Some(restore) if restore.fd == fd => unsafe { restore.read(originals, data, size) },
            // SAFETY: the caller's own arguments.
            _ => unsafe { (originals.read_exact)(fd, data, size) },
        }
    }));
    result.unwrap_or_else(|_| fail())
}

fn fail() -> c_int {
    errno::set(libc::EPROTO);
    -1
}

impl Restore {
    /// # Safety
    /// `data` has room for `size` bytes.
    unsafe fn read(&mut self, originals: &Originals, data: *mut c_void, size: usize) -> c_int {
        let Some(part) = self.cursor.expect(size) else {
            if self.has_image {
                return self.refuse(&RestoreError::UnexpectedRead);
            }
            ReadHook::step_aside();
            // SAFETY: the caller's own arguments.
            return unsafe { (originals.read_exact)(self.fd, data, size) };
        };
        // SAFETY: the caller's own arguments.
        let rc = unsafe { (originals.read_exact)(self.fd, data, size) };
        if rc != 0 {
            self.cursor.lost();
            return rc;
        }
        match part {
            Part::ImageHeader => {
                // SAFETY: `expect` made sure that there are that many bytes, and they were read just now.
                self.cursor.image_header(unsafe {
                    data.cast::<[u8; IMAGE_HEADER_BYTES]>().read_unaligned()
                });
                0
            }
            Part::DomainHeader | Part::Body => {
                self.cursor.passed();
                0
            }
            Part::RecordHeader => {
                // SAFETY: as above.
                let bytes = unsafe { data.cast::<[u8; RecordHeader::BYTES]>().read_unaligned() };
                match self.record_header(RecordHeader::from_bytes(bytes)) {
                    Ok(header) => {
                        // SAFETY: as above; libxc's buffer, which it gave to be written.
                        unsafe {
                            data.cast::<[u8; RecordHeader::BYTES]>()
                                .write_unaligned(header.to_bytes())
                        };
                        0
                    }
                    Err(e) => self.refuse(&e),
                }
            }
        }
    }

    /// A record header was read: the one to give to libxenguest instead.
    fn record_header(&mut self, mut header: RecordHeader) -> Result<RecordHeader, RestoreError> {
        if OURS.contains(&header.record_type) {
            header = self.consume(header).map_err(RestoreError::NotTaken)?;
        } else if header.record_type == END && self.has_image {
            // END does not follow the GPU's records directly; the daemon has to say whether they are complete.
            self.ask::<HandedBack>(&Request::Records(header), WORK)
                .map_err(RestoreError::NotComplete)?;
        }
        self.cursor.record_header(header);
        Ok(header)
    }

    /// Has the daemon read the records that begin with `header`.
    fn consume(&mut self, header: RecordHeader) -> Result<RecordHeader, ClientError> {
        self.has_image = true;
        if self.client.is_none() {
            let mut client = Client::connect()?;
            let request = Request::Restore { domid: self.domid };
            client.call::<Done>(&request, Some(self.stream.as_fd()), FIRST_WORD, &|| false)?;
            self.client = Some(client);
        }
        let HandedBack {
            header: next,
            warning,
        } = self.ask(&Request::Records(header), WORK)?;
        if let Some(warning) = warning {
            say!(Warning, "domain {}: {warning}", self.domid);
        }
        match OURS.contains(&next.record_type) {
            true => Err(ClientError::HandedBack(next.record_type)),
            false => Ok(next),
        }
    }

    fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        request: &Request,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let client = self
            .client
            .as_mut()
            .ok_or_else(|| ClientError::Lost(std::io::ErrorKind::NotConnected.into()))?;
        client.call(request, None, timeout, &|| false)
    }

    fn refuse(&mut self, reason: &RestoreError) -> c_int {
        say!(Error, "domain {}: {reason}", self.domid);
        self.failed = true;
        self.cursor.lost();
        fail()
    }
}
