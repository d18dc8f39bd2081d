//! The saving side: `xc_domain_save` and the callbacks it gets.

use std::ffi::{c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xen_bindings::guest::{
    PrecopyPolicy, PrecopyPolicy414, PrecopyStats, PrecopyStats414, SaveCallbacks, Version,
    XCFLAGS_LIVE, xc_stream_type_t,
};

use super::client::{Client, ClientError};
use super::policy::{self, Joint};
use super::report::{Level, say};
use super::stream_fd::StreamFd;
use super::wire::{Done, Request, Round, Sessions};
use super::{errno, originals, passing, sessions};

/// How long the daemon may take to say how many sessions a domain has.
const FIRST_WORD: Duration = Duration::from_secs(15);
/// How long the daemon may work without a word; it says every second or so that it is still at it. A daemon that dies
/// is noticed at once, and an impatient operator can cancel.
const WORK: Duration = Duration::from_secs(120);
/// How long the daemon may take while the guest is suspended, or when all is done.
const SHORT: Duration = Duration::from_secs(30);

/// What to do with a save.
enum Plan {
    /// The domain has no GPU session.
    PassThrough,
    Refuse(String),
    Migrate(Client),
}

/// A save with GPU state; the callbacks find it behind their `data`.
struct Save {
    domid: u32,
    /// Gone once the conversation broke: then the daemon has taken it for an abort.
    client: Option<Client>,
    stream: StreamFd,
    original: SaveCallbacks,
    version: Version,
    joint: Joint,
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
            plan(domid, live, &stream)
        } else {
            plan_checkpointed(domid)
        }
    });
    let plan =
        decided.unwrap_or_else(|_| without_daemon(domid, "the plugin failed (a fault in xl-gpu)"));
    match plan {
        Plan::PassThrough => {
            // SAFETY: libxl's callbacks are valid during the call.
            let mut watched = unsafe { *callbacks };
            if let Some(suspend) = watched.suspend.replace(passing::suspend) {
                passing::begin(domid, suspend);
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
        Plan::Refuse(reason) => {
            say(
                Level::Error,
                &format!("domain {domid} cannot be saved: {reason}"),
            );
            errno::set(libc::EPERM);
            -1
        }
        Plan::Migrate(client) => {
            let mut save = Save {
                domid,
                client: Some(client),
                stream,
                // SAFETY: libxl's callbacks are valid during the call.
                original: unsafe { *callbacks },
                version: originals.version,
                joint: Joint::default(),
            };
            let mut wrapped = save.wrapped();
            wrapped.data = (&raw mut save).cast();
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
            drop(quiet);
            let _ = catch_unwind(AssertUnwindSafe(|| save.done(rc)));
            errno::set(error);
            rc
        }
    }
}

fn plan(domid: u32, live: bool, stream: &StreamFd) -> Plan {
    let mut client = match Client::connect() {
        Ok(client) => client,
        Err(e) => return without_daemon(domid, &e.to_string()),
    };
    let request = Request::Save { domid, live };
    match client.call::<Sessions>(&request, Some(stream.borrow()), FIRST_WORD, &|| {
        stream.cancelled()
    }) {
        Ok(Sessions { sessions: 0 }) => Plan::PassThrough,
        Ok(_) => Plan::Migrate(client),
        Err(e) => without_daemon(domid, &e.to_string()),
    }
}

/// Remus and COLO receivers fail on records they do not know, so no GPU record may go into such a stream.
fn plan_checkpointed(domid: u32) -> Plan {
    without_daemon(domid, "GPU state cannot travel in a Remus or COLO stream")
}

/// With a GPU session `reason` stands in the way; without one there is nothing to do.
fn without_daemon(domid: u32, reason: &str) -> Plan {
    match sessions::describe(domid) {
        Ok(None) => {
            say(
                Level::Detail,
                &format!("domain {domid} has no GPU session ({reason})"),
            );
            Plan::PassThrough
        }
        Ok(Some(programs)) => {
            Plan::Refuse(format!("it has GPU sessions ({programs}), and {reason}"))
        }
        // Somebody who saves without XenStore knows what they do; do not stand in their way.
        Err(e) if sessions::is_elsewhere(&e) => {
            say(
                Level::Warning,
                &format!("cannot tell whether domain {domid} uses a GPU: {e}"),
            );
            Plan::PassThrough
        }
        Err(e) => Plan::Refuse(format!(
            "whether it has GPU sessions cannot be told ({e}), and {reason}"
        )),
    }
}

impl Save {
    /// libxl's callbacks with ours in front. Those of checkpointed streams never come here.
    fn wrapped(&self) -> SaveCallbacks {
        SaveCallbacks {
            suspend: Some(suspend),
            precopy_policy: if self.version.has_short_precopy_stats() {
                precopy_policy_414 as *mut c_void
            } else {
                precopy_policy as *mut c_void
            },
            postcopy: None,
            checkpoint: None,
            wait_checkpoint: None,
            switch_qemu_logdirty: self
                .original
                .switch_qemu_logdirty
                .is_some()
                .then_some(switch_qemu_logdirty as _),
            data: std::ptr::null_mut(),
        }
    }

    fn call<T: serde::de::DeserializeOwned>(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let stream = self.stream;
        let client = self
            .client
            .as_mut()
            .ok_or_else(|| ClientError::Lost(std::io::ErrorKind::NotConnected.into()))?;
        let result = client.call(request, None, patience, &|| stream.cancelled());
        if !matches!(result, Ok(_) | Err(ClientError::Refused(_))) {
            self.client = None;
        }
        result
    }

    /// The stream stands at a record boundary, the guest runs.
    fn precopy(&mut self, stats: PrecopyStats) -> c_int {
        let memory = self.memory_policy(stats);
        if memory == policy::ABORT {
            return memory;
        }
        let request = Request::Precopy {
            iteration: stats.iteration,
            dirty_pages: stats.dirty_count,
        };
        match self.call::<Round>(&request, WORK) {
            Ok(Round {
                round,
                bytes,
                dirty_bytes,
                finished,
            }) => {
                say(
                    Level::Detail,
                    &format!("GPU round {round}: {bytes} bytes sent, {dirty_bytes} dirty"),
                );
                self.joint.decide(memory, finished)
            }
            Err(e) => {
                say(
                    Level::Error,
                    &format!("domain {}: GPU pre-copy failed: {e}", self.domid),
                );
                policy::ABORT
            }
        }
    }

    fn memory_policy(&self, stats: PrecopyStats) -> c_int {
        let original = self.original.precopy_policy;
        if original.is_null() {
            return policy::libxc_default(stats);
        }
        if self.version.has_short_precopy_stats() {
            let total_written = stats.total_written as c_uint; // it came as one
            let stats = PrecopyStats414 {
                iteration: stats.iteration,
                total_written,
                dirty_count: stats.dirty_count,
            };
            // SAFETY: libxl set the policy for a libxenguest of this version, where it has this type.
            unsafe {
                std::mem::transmute::<*mut c_void, PrecopyPolicy414>(original)(
                    stats,
                    self.original.data,
                )
            }
        } else {
            // SAFETY: as above.
            unsafe {
                std::mem::transmute::<*mut c_void, PrecopyPolicy>(original)(
                    stats,
                    self.original.data,
                )
            }
        }
    }

    /// What is left goes out, then the guest is suspended. 0 makes libxc give up cleanly: the guest runs on.
    fn suspend(&mut self) -> c_int {
        if let Err(e) = self.call::<Done>(&Request::Stop, WORK) {
            say(
                Level::Error,
                &format!(
                    "domain {}: GPU stop-and-copy failed, it runs on: {e}",
                    self.domid
                ),
            );
            errno::set(libc::ECANCELED);
            return 0;
        }
        let Some(original) = self.original.suspend else {
            return 0;
        };
        // SAFETY: libxl's own callback and data.
        let suspended = unsafe { original(self.original.data) };
        let error = errno::get();
        let result = match self.call::<Done>(&Request::Suspended { ok: suspended != 0 }, SHORT) {
            Ok(_) => suspended,
            Err(ClientError::Refused(reason)) => {
                say(Level::Error, &format!("domain {}: {reason}", self.domid));
                0
            }
            Err(_) if suspended == 0 => suspended,
            // The seal is in the stream. The guest is frozen: what XenStore says now is final.
            Err(e) => match sessions::not_detached(self.domid) {
                Ok(None) => {
                    say(
                        Level::Warning,
                        &format!("domain {}: {e}; the GPU state is in the stream", self.domid),
                    );
                    suspended
                }
                Ok(Some(programs)) => {
                    say(
                        Level::Error,
                        &format!(
                            "domain {}: {e}; the GPU state has not left all programs ({programs})",
                            self.domid
                        ),
                    );
                    0
                }
                Err(unread) => {
                    say(
                        Level::Error,
                        &format!("domain {}: {e}, and {unread}", self.domid),
                    );
                    0
                }
            },
        };
        errno::set(error);
        result
    }

    fn done(&mut self, rc: c_int) {
        if self.client.is_none() {
            return;
        }
        let client = self.client.as_mut();
        let result = client.map(|c| c.call::<Done>(&Request::Done { rc }, None, SHORT, &|| false));
        if let Some(Err(e)) = result {
            say(Level::Warning, &format!("domain {}: {e}", self.domid));
        }
    }
}

/// # Safety
/// `data` is the [`Save`] of the running `xc_domain_save`.
unsafe extern "C" fn precopy_policy(stats: PrecopyStats, data: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; libxc calls one callback at a time.
    let save = unsafe { &mut *data.cast::<Save>() };
    catch_unwind(AssertUnwindSafe(|| save.precopy(stats))).unwrap_or(policy::ABORT)
}

/// # Safety
/// As [`precopy_policy`].
unsafe extern "C" fn precopy_policy_414(stats: PrecopyStats414, data: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { precopy_policy(stats.into(), data) }
}

/// # Safety
/// As [`precopy_policy`].
unsafe extern "C" fn suspend(data: *mut c_void) -> c_int {
    // SAFETY: as in `precopy_policy`.
    let save = unsafe { &mut *data.cast::<Save>() };
    catch_unwind(AssertUnwindSafe(|| save.suspend())).unwrap_or(0)
}

/// # Safety
/// As [`precopy_policy`].
unsafe extern "C" fn switch_qemu_logdirty(domid: u32, enable: c_uint, data: *mut c_void) -> c_int {
    // SAFETY: as in `precopy_policy`.
    let original = unsafe { &(*data.cast::<Save>()).original };
    match original.switch_qemu_logdirty {
        // SAFETY: libxl's own callback and data.
        Some(switch) => unsafe { switch(domid, enable, original.data) },
        None => 0,
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
