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

/// Refuses figures that no machine has: they would overflow sums, or spoil the prediction for the next step. How long a
/// program was held is not checked: a domain may stay saved for years.
pub(super) fn plausible(message: ToHost) -> Result<ToHost, HostError> {
    let count = |what, value| (what, value, MAX_CLAIM);
    let time = |what, value| (what, value, MAX_TIME);
    let claims = match message {
        ToHost::Begun {
            buffers,
            bytes,
            contexts,
            left,
            pinned,
        } => vec![
            count("buffer count", buffers),
            count("byte count", bytes),
            count("context count", contexts),
            count("bytes left to the driver", left),
            count("pinned bytes", pinned),
        ],
        ToHost::RoundDone {
            bytes,
            dirty,
            whole,
            left,
            pinned,
            ..
        } => vec![
            count("byte count", bytes),
            count("dirty bytes", dirty),
            count("bytes sent whole", whole),
            count("bytes left to the driver", left),
            count("pinned bytes", pinned),
        ],
        ToHost::Stopped {
            bytes,
            buffers,
            drain_ns,
            copy_ns,
            compare_ns,
            ..
        } => vec![
            count("buffer count", buffers),
            count("byte count", bytes),
            time("drain time", drain_ns),
            time("copy time", copy_ns),
            time("comparison time", compare_ns),
        ],
        ToHost::Unloaded {
            unload_ns,
            libraries,
            devices,
        } => vec![
            time("unload time", unload_ns),
            count("library count", libraries),
            count("device count", devices),
        ],
        ToHost::Opened { reload_ns, .. } => vec![time("reload time", reload_ns)],
        ToHost::Restored { bytes } => vec![count("byte count", bytes)],
        _ => Vec::new(),
    };
    match claims.into_iter().find(|(_, value, most)| value > most) {
        Some((what, value, _)) => Err(HostError::Outside { what, value }),
        None => Ok(message),
    }
}
