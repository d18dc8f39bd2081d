//! What passes found, and took.

use std::time::Duration;

/// What a pass found, and took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PassReport {
    /// Bytes of the candidates.
    pub examined_bytes: u64,
    /// Bytes sent as data.
    pub data_bytes: u64,
    /// Bytes sent as zero extents.
    pub zero_bytes: u64,
    pub extents: u64,
    pub pieces: u64,
    /// Staging windows used.
    pub windows: u64,
    pub elapsed: Duration,
    /// Time the host waited for comparisons alone.
    pub waited: Duration,
    /// The device's own times, summed, in nanoseconds; 0 without [`super::config::Config::profiling`].
    pub detect_ns: u64,
    pub gather_ns: u64,
    pub read_ns: u64,
}

impl PassReport {
    /// Adds what another pass found and took.
    pub fn add(&mut self, other: PassReport) {
        self.examined_bytes += other.examined_bytes;
        self.data_bytes += other.data_bytes;
        self.zero_bytes += other.zero_bytes;
        self.extents += other.extents;
        self.pieces += other.pieces;
        self.windows += other.windows;
        self.elapsed += other.elapsed;
        self.waited += other.waited;
        self.detect_ns += other.detect_ns;
        self.gather_ns += other.gather_ns;
        self.read_ns += other.read_ns;
    }
}

/// Changed bytes, as [`super::engine::Engine::estimate`] found them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// Bytes in changed chunks that are not all zero.
    pub data_bytes: u64,
    /// Bytes in changed chunks that are all zero.
    pub zero_bytes: u64,
}
