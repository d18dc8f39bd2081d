//! What libxc calls back while a domain with GPU state is saved: precopy policy and suspend, ours before libxl's.

use std::ffi::{c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use xen_bindings::guest::{
    PrecopyPolicy, PrecopyPolicy414, PrecopyStats, PrecopyStats414, SaveCallbacks, Version,
};

use super::client::{Client, ClientError};
use super::devices::Devices;
use super::messages::say;
use super::precopy_policy::{self, JointPolicy};
use super::ram::Ram;
use super::stream_fd::StreamFd;
use super::{errno, sessions};
use protocol::conversation::Done;
use protocol::helper::{Request, Round};

/// How long the daemon may work without a word; it says every second or so that it is still at it. A daemon that dies
/// is noticed at once, and an impatient operator can cancel.
const WORK: Duration = Duration::from_secs(120);
/// How long the daemon may take while the guest is suspended, or when all is done.
const SHORT: Duration = Duration::from_secs(30);

/// A save with GPU state; the callbacks find it behind their `data`.
#[derive(Debug)]
pub struct Save {
    pub(super) domid: u32,
    /// Gone once the conversation broke: then the daemon has taken it for an abort.
    client: Option<Client>,
    stream: StreamFd,
    original: SaveCallbacks,
    version: Version,
    joint: JointPolicy,
    pub(super) devices: Devices,
    pub(super) ram: Ram,
}

impl Save {
    pub fn new(
        domid: u32,
        client: Client,
        stream: StreamFd,
        original: SaveCallbacks,
        version: Version,
        devices: Devices,
        ram: Ram,
    ) -> Self {
        Self {
            domid,
            client: Some(client),
            stream,
            original,
            version,
            joint: JointPolicy::default(),
            devices,
            ram,
        }
    }

    /// libxl's callbacks with ours in front. Those of checkpointed streams never come here.
    pub fn wrapped(&self) -> SaveCallbacks {
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
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let stream = self.stream;
        let client = self
            .client
            .as_mut()
            .ok_or_else(|| ClientError::Lost(std::io::ErrorKind::NotConnected.into()))?;
        let result = client.call(request, None, timeout, &|| stream.cancelled());
        if !matches!(result, Ok(_) | Err(ClientError::Refused(_))) {
            self.client = None;
        }
        result
    }

    /// The stream stands at a record boundary, the guest runs.
    fn precopy(&mut self, stats: PrecopyStats) -> c_int {
        let memory = self.memory_policy(stats);
        if memory == precopy_policy::ABORT {
            return memory;
        }
        if self.devices == Devices::Away {
            self.scan(stats.dirty_count);
        }
        // Where the devices are away the daemon has nothing to send, but the operator may call it off.
        match self.round(stats.iteration, stats.dirty_count) {
            Some(Round { next, .. }) => self.joint.decide(memory, next),
            None => precopy_policy::ABORT,
        }
    }

    /// One round of the GPU; `None`, with the reason told, where it failed.
    pub(super) fn round(&mut self, iteration: u32, dirty_pages: i64) -> Option<Round> {
        let request = Request::Precopy {
            iteration,
            dirty_pages,
        };
        let round = self.call::<Round>(&request, WORK);
        match &round {
            Ok(r) => say!(
                Detail,
                "GPU round {}: {} bytes sent, {} dirty",
                r.round,
                r.bytes,
                r.dirty_bytes
            ),
            Err(e) => say!(Error, "domain {}: GPU pre-copy failed: {e}", self.domid),
        }
        round.ok()
    }

    /// What is left goes out, the programs hold nothing of the GPU any more, and its devices are detached; false, with
    /// the reason told, where the programs have it back.
    pub(super) fn stop(&mut self) -> bool {
        let stopped = self.call::<Done>(&Request::Stop, WORK);
        if let Err(e) = &stopped {
            say!(
                Error,
                "domain {}: GPU stop-and-copy failed, it runs on: {e}",
                self.domid
            );
        }
        stopped.is_ok()
    }

    /// Takes unchanged pages out of libxc's first round.
    fn scan(&mut self, dirty_count: i64) {
        let Some(figures) = self.ram.scan(dirty_count, &self.stream) else {
            return;
        };
        let request = Request::Ram(figures.clone());
        self.tell(&request);
    }

    /// Sends what has changed of RAM; false, with the reason told, where the stream is lost.
    pub(super) fn ram_pass(&mut self) -> bool {
        if self.ram.is_first_pass()
            && let Err(e) = self.call::<Done>(&Request::Head, WORK)
        {
            say!(Error, "domain {}: GPU pre-copy failed: {e}", self.domid);
            return false;
        }
        match self.ram.pass(&self.stream) {
            Ok(None) => true,
            Ok(Some(figures)) => {
                let request = Request::Ram(figures.clone());
                self.tell(&request);
                true
            }
            Err(e) => {
                say!(Error, "domain {}: RAM pre-copy failed: {e}", self.domid);
                false
            }
        }
    }

    /// Figures: a daemon that does not take them is noticed where it is needed.
    fn tell(&mut self, request: &Request) {
        if let Err(e) = self.call::<Done>(request, SHORT) {
            say!(Detail, "domain {}: {e}", self.domid);
        }
    }

    fn memory_policy(&self, stats: PrecopyStats) -> c_int {
        let original = self.original.precopy_policy;
        if original.is_null() {
            return precopy_policy::libxc_default(stats);
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
        if self.devices != Devices::Away && !self.stop() {
            errno::set(libc::ECANCELED);
            return 0;
        }
        let Some(original) = self.original.suspend else {
            return 0;
        };
        let begun = Instant::now();
        // SAFETY: libxl's own callback and data.
        let suspended = unsafe { original(self.original.data) };
        let error = errno::get();
        let request = Request::Suspended {
            ok: suspended != 0,
            took_ns: begun.elapsed().as_nanos() as u64,
        };
        let result = match self.call::<Done>(&request, SHORT) {
            Ok(_) => suspended,
            Err(ClientError::Refused(reason)) => {
                say!(Error, "domain {}: {reason}", self.domid);
                0
            }
            Err(_) if suspended == 0 => suspended,
            // The seal is in the stream. The guest is frozen: what XenStore says now is final.
            Err(e) => match sessions::not_detached(self.domid) {
                Ok(None) => {
                    say!(
                        Warning,
                        "domain {}: {e}; the GPU state is in the stream",
                        self.domid
                    );
                    suspended
                }
                Ok(Some(programs)) => {
                    say!(
                        Error,
                        "domain {}: {e}; the GPU state has not left all programs ({programs})",
                        self.domid
                    );
                    0
                }
                Err(unread) => {
                    say!(Error, "domain {}: {e}, and {unread}", self.domid);
                    0
                }
            },
        };
        errno::set(error);
        result
    }

    pub fn done(&mut self, rc: c_int) {
        if self.client.is_none() {
            return;
        }
        let ram = self.ram.figures();
        let client = self.client.as_mut();
        let result =
            client.map(|c| c.call::<Done>(&Request::Done { rc, ram }, None, SHORT, &|| false));
        if let Some(Err(e)) = result {
            say!(Warning, "domain {}: {e}", self.domid);
        }
    }
}

/// # Safety
/// `data` is the [`Save`] of the running `xc_domain_save`.
unsafe extern "C" fn precopy_policy(stats: PrecopyStats, data: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; libxc calls one callback at a time.
    let save = unsafe { &mut *data.cast::<Save>() };
    catch_unwind(AssertUnwindSafe(|| save.precopy(stats))).unwrap_or(precopy_policy::ABORT)
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
