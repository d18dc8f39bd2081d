//! The restoring side: `xc_domain_restore`, and `read_exact` while it runs.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use xen_bindings::guest::xc_stream_type_t;

use super::client::{Client, ClientError};
use super::entry::ReadHook;
use super::errno;
use super::originals::{self, Originals};
use super::position::{IMAGE_HEADER, Piece, Position, RECORD_HEADER};
use super::report::{Level, say};
use super::stream_fd::StreamFd;
use crate::position::END;
use protocol::helper::{Done, Header, Request};

/// The record types of the GPU's image: head, data and seal.
const OURS: [u32; 3] = [0x4750_5500, 0xc750_5501, 0xc750_5502];

/// How long the daemon may take to answer at all.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// How long it may read records, or put an image away, without a word.
const WORK: Duration = Duration::from_secs(120);

/// The restore that runs in this process.
static RUNNING: Mutex<Option<Restore>> = Mutex::new(None);

struct Restore {
    domid: u32,
    stream: StreamFd,
    fd: c_int,
    position: Position,
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
        position: Position::start(),
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
            say(
                Level::Error,
                &format!(
                    "domain {}: its GPU state was not accepted: {e}",
                    restore.domid
                ),
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
        let Some(piece) = self.position.expect(size) else {
            if self.has_image {
                let domid = self.domid;
                return self.refuse(&format!(
                    "domain {domid}: libxenguest does not read the stream as expected"
                ));
            }
            ReadHook::step_aside();
            // SAFETY: the caller's own arguments.
            return unsafe { (originals.read_exact)(self.fd, data, size) };
        };
        // SAFETY: the caller's own arguments.
        let rc = unsafe { (originals.read_exact)(self.fd, data, size) };
        if rc != 0 {
            self.position.lost();
            return rc;
        }
        match piece {
            Piece::ImageHeader => {
                // SAFETY: `expect` made sure that there are that many bytes, and they were read just now.
                self.position
                    .image_header(unsafe { data.cast::<[u8; IMAGE_HEADER]>().read_unaligned() });
                0
            }
            Piece::DomainHeader | Piece::Body => {
                self.position.passed();
                0
            }
            Piece::RecordHeader => {
                // SAFETY: as above.
                let bytes = unsafe { data.cast::<[u8; RECORD_HEADER]>().read_unaligned() };
                match self.record_header(decode(bytes)) {
                    Ok(header) => {
                        // SAFETY: as above; libxc's buffer, which it gave to be written.
                        unsafe {
                            data.cast::<[u8; RECORD_HEADER]>()
                                .write_unaligned(encode(header))
                        };
                        0
                    }
                    Err(reason) => self.refuse(&reason),
                }
            }
        }
    }

    /// A record header was read: the one to give to libxenguest instead.
    fn record_header(&mut self, mut header: Header) -> Result<Header, String> {
        if OURS.contains(&header.kind) {
            header = self.consume(header).map_err(|e| {
                format!(
                    "domain {}: the stream carries GPU state that cannot be taken: {e}",
                    self.domid
                )
            })?;
        } else if header.kind == END && self.has_image {
            // END does not follow the GPU's records directly; the daemon has to say whether they are complete.
            let request = Request::Records {
                kind: END,
                length: header.length,
            };
            self.ask::<Header>(&request, WORK)
                .map_err(|e| format!("domain {}: its GPU state did not arrive: {e}", self.domid))?;
        }
        self.position.record_header(header);
        Ok(header)
    }

    /// Has the daemon read the records that begin with `header`.
    fn consume(&mut self, header: Header) -> Result<Header, ClientError> {
        self.has_image = true;
        if self.client.is_none() {
            let mut client = Client::connect()?;
            let request = Request::Restore { domid: self.domid };
            client.call::<Done>(&request, Some(self.stream.borrow()), FIRST_WORD, &|| false)?;
            self.client = Some(client);
        }
        let next: Header = self.ask(
            &Request::Records {
                kind: header.kind,
                length: header.length,
            },
            WORK,
        )?;
        match OURS.contains(&next.kind) {
            true => Err(ClientError::Garbled(format!(
                "record {:#010x} was handed back",
                next.kind
            ))),
            false => Ok(next),
        }
    }

    fn ask<T: serde::de::DeserializeOwned>(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let client = self
            .client
            .as_mut()
            .ok_or_else(|| ClientError::Lost(std::io::ErrorKind::NotConnected.into()))?;
        client.call(request, None, patience, &|| false)
    }

    fn refuse(&mut self, reason: &str) -> c_int {
        say(Level::Error, reason);
        self.failed = true;
        self.position.lost();
        fail()
    }
}

fn decode(bytes: [u8; RECORD_HEADER]) -> Header {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Header {
        kind: word(0),
        length: word(4),
    }
}

fn encode(header: Header) -> [u8; RECORD_HEADER] {
    let mut bytes = [0; RECORD_HEADER];
    bytes[..4].copy_from_slice(&header.kind.to_le_bytes());
    bytes[4..].copy_from_slice(&header.length.to_le_bytes());
    bytes
}
