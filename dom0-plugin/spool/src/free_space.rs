//! How much the spool can still take.

use super::spool::Spool;
use super::store::reserve;
use rustix::fs::statvfs;
use std::path::{Path, PathBuf};

/// Bytes that can still be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSpace {
    /// Of one guest's images, wherever.
    pub quota: u64,
    /// In memory, for all guests.
    pub memory: u64,
    /// On disk; `None` where the folder cannot be used.
    pub disk: Option<u64>,
    /// Where on disk.
    pub dir: PathBuf,
}

impl Spool {
    /// For a guest that has `quota` bytes of its own left.
    pub fn free_space(&self, quota: u64) -> FreeSpace {
        let (memory, dir) = (self.memory(), self.dir());
        let left = memory.limit().saturating_sub(memory.used());
        let there = self.memory_dir().map(|dir| free(dir, false).unwrap_or(0));
        FreeSpace {
            quota,
            memory: left.min(there.unwrap_or(u64::MAX)),
            disk: free(dir, self.memory_dir().is_some()),
            dir: dir.to_owned(),
        }
    }
}

/// Bytes that may be taken on the filesystem of `dir`.
fn free(dir: &Path, keep_some: bool) -> Option<u64> {
    let found = statvfs(dir).ok()?;
    let reserved = match keep_some {
        true => reserve(found.f_blocks.saturating_mul(found.f_frsize)),
        false => 0,
    };
    Some(
        found
            .f_bavail
            .saturating_mul(found.f_frsize)
            .saturating_sub(reserved),
    )
}
