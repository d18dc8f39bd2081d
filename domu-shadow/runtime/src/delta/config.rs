//! Sizes that trade memory against speed.

use super::chunk::{CHUNK_BYTES, GROUP_FLAGS};
use super::window::{Entry, Limits};

/// Sizes that trade memory against speed.
#[derive(Clone, Debug)]
pub struct Config {
    /// Staging windows; two let gathering and reading overlap, more keep the bus busy through a comparison.
    pub windows: usize,
    /// Bytes of a staging window, a multiple of 4096. All windows together take at most 1/32 of the device's
    /// memory: on small devices they are made smaller. Small windows stay in the device's cache.
    pub window_bytes: usize,
    /// Queues that read windows out, in turn.
    pub read_queues: usize,
    /// Buffer bytes compared before the host looks at the result: detect of one segment overlaps the transfer of
    /// the one before.
    pub segment_bytes: u64,
    /// Longest data extent, in bytes, a multiple of 4096 (`channel::image::BatchLimits` allows 4 MiB).
    pub extent_bytes: u32,
    /// Keep the device's own times of each step for [`super::report::PassReport`].
    pub profiling: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            windows: 6,
            window_bytes: 16 << 20,
            read_queues: 2,
            segment_bytes: 4 << 30,
            extent_bytes: 1 << 20,
            profiling: false,
        }
    }
}

impl Config {
    /// The default sizes, smaller where all buffers together have only `bytes` bytes.
    pub fn for_bytes(bytes: u64) -> Config {
        let default = Config::default();
        let share = usize::try_from(bytes).unwrap_or(usize::MAX) / default.windows;
        Config {
            window_bytes: share.clamp(256 << 10, default.window_bytes),
            segment_bytes: bytes.clamp(16 << 20, default.segment_bytes),
            ..default
        }
    }

    /// Device memory that an engine takes for buffers of `bytes` bytes, at most, but for small buffers' tables.
    pub fn device_bytes(&self, bytes: u64) -> u64 {
        let window = self.window_bytes as u64;
        // Entries are 8 bytes a chunk; flags are few.
        self.windows as u64 * (window + window / 512) + bytes / 256
    }

    /// Values the engine can work with, for a device with `memory` bytes.
    pub fn fitted(&self, memory: u64) -> Config {
        let windows = self.windows.max(1);
        let share = usize::try_from(memory / 32).unwrap_or(usize::MAX) / windows;
        let whole = |bytes: usize| (bytes / CHUNK_BYTES).max(1) * CHUNK_BYTES;
        Config {
            windows,
            window_bytes: whole(self.window_bytes.min(share).min(1 << 30)),
            read_queues: self.read_queues.max(1),
            segment_bytes: self.segment_bytes.clamp(32 << 10, 1 << 40),
            extent_bytes: whole((self.extent_bytes as usize).min(1 << 30)) as u32,
            profiling: self.profiling,
        }
    }

    /// Bounds of a window.
    pub fn limits(&self) -> Limits {
        Limits {
            bytes: self.window_bytes,
            // Short ends of small buffers may be more than whole chunks would be.
            entries: (self.window_bytes / CHUNK_BYTES).max(64),
            extent_bytes: self.extent_bytes,
        }
    }

    /// Device memory of the windows and of both flags.
    pub fn staging_bytes(&self) -> u64 {
        let limits = self.limits();
        let window = limits.bytes + limits.entries * size_of::<Entry>();
        (self.windows * window + 2 * self.flag_bytes()) as u64
    }

    /// Bytes of flags memory.
    pub fn flag_bytes(&self) -> usize {
        self.segment_groups() as usize * GROUP_FLAGS
    }

    /// Groups of chunks compared at once.
    pub fn segment_groups(&self) -> u32 {
        (self.segment_bytes / (8 * CHUNK_BYTES as u64)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_with_the_device_and_stay_whole_chunks() {
        let large = Config::default().fitted(141 << 30);
        assert_eq!((large.windows, large.window_bytes), (6, 16 << 20));
        let small = Config::default().fitted(256 << 20);
        assert!(small.windows * small.window_bytes <= 8 << 20);
        assert_eq!(small.window_bytes % CHUNK_BYTES, 0);
        let odd = Config {
            windows: 0,
            window_bytes: 5000,
            read_queues: 0,
            segment_bytes: 1,
            extent_bytes: 1,
            profiling: false,
        }
        .fitted(1 << 30);
        assert_eq!(
            (odd.windows, odd.window_bytes, odd.read_queues),
            (1, 4096, 1)
        );
        assert_eq!((odd.segment_groups(), odd.extent_bytes), (1, 4096));
    }
}
