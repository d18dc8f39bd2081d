//! What a guest may send, ask for and claim in one step.

use super::error::HostError;
use crate::PAGE_SIZE;
use crate::message::ToHost;

/// Largest count of bytes, buffers or libraries that a guest may claim: sums of such claims stay in a u64.
const MAX_CLAIM: u64 = 1 << 56;
/// Longest time that a part of one step may have taken, in nanoseconds: a day, longer than dom0 waits for any.
const MAX_TIME: u64 = 24 * 3600 * 1_000_000_000;

/// What one step may take.
#[derive(Debug, Clone, Copy)]
pub struct StepLimits {
    /// Payload bytes a guest may send in one round; a restore may fetch twice as many.
    pub round_bytes: u64,
    /// Bounds of one batch.
    pub batch: crate::image::BatchLimits,
}

impl StepLimits {
    /// Extents of a round, or fetches of a restore, for `bytes` bytes: honest ones stand for 4 KiB or more,
    /// small buffers get some slack.
    pub(super) fn extents(bytes: u64) -> u64 {
        bytes / PAGE_SIZE as u64 + (1 << 20)
    }
}

/// What has come in a step so far.
pub(super) struct Tally {
    what: &'static str,
    count: u64,
    limit: u64,
}

impl Tally {
    pub(super) fn new(what: &'static str, limit: u64) -> Tally {
        let count = 0;
        Tally { what, count, limit }
    }

    pub(super) fn add(&mut self, n: u64) -> Result<(), HostError> {
        self.count = self.count.saturating_add(n);
        if self.count <= self.limit {
            return Ok(());
        }
        Err(HostError::TooMuch {
            what: self.what,
            limit: self.limit,
        })
    }
}

pub(super) fn bounded(
    what: &'static str,
    value: u64,
    least: usize,
    most: usize,
) -> Result<usize, HostError> {
    usize::try_from(value)
        .ok()
        .filter(|v| (least..=most).contains(v))
        .ok_or(HostError::Outside { what, value })
}

/// Figures that a guest tells are claims; those no machine has would overflow the sums made of them, or spoil what is
/// expected of the next step. How long a program has been held is not among them: a saved domain may rest for years.
pub(super) fn plausible(message: ToHost) -> Result<ToHost, HostError> {
    let times: &[(&'static str, u64)] = match message {
        ToHost::Stopped {
            drain_ns,
            copy_ns,
            compare_ns,
            ..
        } => &[
            ("drain time", drain_ns),
            ("copy time", copy_ns),
            ("comparison time", compare_ns),
        ],
        ToHost::Unloaded { unload_ns, .. } => &[("unload time", unload_ns)],
        ToHost::Opened { reload_ns, .. } => &[("reload time", reload_ns)],
        _ => &[],
    };
    if let Some(&(what, value)) = times.iter().find(|(_, value)| *value > MAX_TIME) {
        return Err(HostError::Outside { what, value });
    }
    let claims: &[(&'static str, u64)] = match message {
        ToHost::Begun { buffers, bytes } | ToHost::Stopped { buffers, bytes, .. } => {
            &[("buffer count", buffers), ("byte count", bytes)]
        }
        ToHost::RoundDone {
            bytes,
            dirty,
            whole,
            ..
        } => &[
            ("byte count", bytes),
            ("dirty bytes", dirty),
            ("bytes sent whole", whole),
        ],
        ToHost::Unloaded {
            libraries, devices, ..
        } => &[("library count", libraries), ("device count", devices)],
        ToHost::Restored { bytes, .. } => &[("byte count", bytes)],
        _ => &[],
    };
    match claims.iter().find(|(_, value)| *value > MAX_CLAIM) {
        Some(&(what, value)) => Err(HostError::Outside { what, value }),
        None => Ok(message),
    }
}
