//! The saving side: `xc_domain_save`, and what is to become of it.

use std::ffi::{c_int, c_void};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xen_bindings::guest::{SaveCallbacks, XCFLAGS_LIVE, xc_stream_type_t};

use super::callbacks::Save;
use super::client::Client;
use super::devices::Devices;
use super::log_dirty::LogDirtyHook;
use super::messages::say;
use super::ram::{BufferHook, Ram};
use super::stream_fd::StreamFd;
use super::{errno, originals, plain_save, sessions};
use protocol::helper::{Request, Sessions};

/// How long the daemon may take to say how many sessions a domain has.
const FIRST_WORD: Duration = Duration::from_secs(15);

/// What to do with a save.
enum Decision {
    /// The domain has no GPU session.
    PassThrough,
    Refuse(String),
    Migrate(Client, Sessions),
}

/// In front of libxenguest's function.
///
/// # Safety
/// As `xc_domain_save`.
pub unsafe extern "C" fn xc_domain_save(
    xch: *mut c_void,
    io_fd: c_int,
    domid: u32,
    flags: u32,
    callbacks: *mut SaveCallbacks,
    stream_type: xc_stream_type_t::Type,
    recv_fd: c_int,
) -> c_int {
    let Some(originals) = originals::get() else {
        return -1;
    };
    let entered_with = errno::get();
    // SAFETY: libxl's descriptor is open during the call.
    let stream = unsafe { StreamFd::new(io_fd) };
    let live = flags & XCFLAGS_LIVE != 0;
    let plain = stream_type == xc_stream_type_t::XC_STREAM_PLAIN;
    let decided = catch_unwind(|| {
        if plain {
            decide(domid, live, &stream)
        } else {
            decide_checkpointed(domid)
        }
    });
    let decision =
        decided.unwrap_or_else(|_| without_daemon(domid, "the plugin failed (a fault in xl-gpu)"));
    match decision {
        Decision::PassThrough => {
            // SAFETY: libxl's callbacks are valid during the call.
            let mut watched = unsafe { *callbacks };
            if let Some(suspend) = watched.suspend.replace(plain_save::suspend) {
                plain_save::begin(domid, suspend);
            }
            errno::set(entered_with); // libxc's messages quote it, stale or not
            // SAFETY: the caller's own arguments; the callbacks differ in one, which passes its data on.
            unsafe {
                (originals.save)(
                    xch,
                    io_fd,
                    domid,
                    flags,
                    &raw mut watched,
                    stream_type,
                    recv_fd,
                )
            }
        }
        Decision::Refuse(reason) => {
            say!(Error, "domain {domid} cannot be saved: {reason}");
            errno::set(libc::EPERM);
            -1
        }
        Decision::Migrate(client, found) => {
            // SAFETY: libxl's callbacks are valid during the call.
            let original = unsafe { *callbacks };
            let version = originals.version;
            let devices = Devices::new(found.devices);
            let limits = found.ram.filter(|_| devices == Devices::Assigned && live);
            let buffers = limits.and_then(|_| BufferHook::set());
            let ram = Ram::new(domid, xch as usize, limits.filter(|_| buffers.is_some()));
            let mut save = Save::new(domid, client, stream, original, version, devices, ram);
            let mut wrapped = save.wrapped();
            let data = &raw mut save;
            wrapped.data = data.cast();
            let hook = LogDirtyHook::set(data);
            let quiet = IgnoreSigpipe::new();
            // SAFETY: the caller's own arguments, except for the callbacks; those have the types of this version, and
            // what is behind their `data` outlives the call and is used by nothing else meanwhile.
            let rc = unsafe {
                (originals.save)(
                    xch,
                    io_fd,
                    domid,
                    flags,
                    &raw mut wrapped,
                    stream_type,
                    recv_fd,
                )
            };
            let error = errno::get();
            drop(hook);
            drop(buffers);
            drop(quiet);
            let _ = catch_unwind(AssertUnwindSafe(|| save.done(rc)));
            errno::set(error);
            rc
        }
    }
}

fn decide(domid: u32, live: bool, stream: &StreamFd) -> Decision {
    let mut client = match Client::connect() {
        Ok(client) => client,
        Err(e) => return without_daemon(domid, &e.to_string()),
    };
    let request = Request::Save { domid, live };
    match client.call::<Sessions>(&request, Some(stream.as_fd()), FIRST_WORD, &|| {
        stream.cancelled()
    }) {
        Ok(Sessions { sessions: 0, .. }) => Decision::PassThrough,
        Ok(found) => Decision::Migrate(client, found),
        Err(e) => without_daemon(domid, &e.to_string()),
    }
}

/// Remus and COLO receivers fail on records they do not know, so no GPU record may go into such a stream.
fn decide_checkpointed(domid: u32) -> Decision {
    without_daemon(domid, "GPU state cannot travel in a Remus or COLO stream")
}

/// With a GPU session `reason` stands in the way; without one there is nothing to do.
fn without_daemon(domid: u32, reason: &str) -> Decision {
    match sessions::describe(domid) {
        Ok(None) => {
            say!(Detail, "domain {domid} has no GPU session ({reason})");
            Decision::PassThrough
        }
        Ok(Some(programs)) => {
            Decision::Refuse(format!("it has GPU sessions ({programs}), and {reason}"))
        }
        // Somebody who saves without XenStore knows what they do; do not stand in their way.
        Err(e) if sessions::is_elsewhere(&e) => {
            say!(
                Warning,
                "cannot tell whether domain {domid} uses a GPU: {e}"
            );
            Decision::PassThrough
        }
        Err(e) => Decision::Refuse(format!(
            "whether it has GPU sessions cannot be told ({e}), and {reason}"
        )),
    }
}

/// A receiver that dies would kill the helper with SIGPIPE at libxc's next write. Ignored, the write fails instead,
/// libxc cleans up, and the daemon hears what happened.
struct IgnoreSigpipe(libc::sighandler_t);

impl IgnoreSigpipe {
    fn new() -> Self {
        // SAFETY: SIG_IGN is a valid disposition.
        Self(unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) })
    }
}

impl Drop for IgnoreSigpipe {
    fn drop(&mut self) {
        if self.0 != libc::SIG_ERR {
            // SAFETY: the disposition that was there before.
            unsafe { libc::signal(libc::SIGPIPE, self.0) };
        }
    }
}
