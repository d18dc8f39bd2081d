//! The daemon's spool: what all guests share.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::statvfs;

use super::budget::Budget;
use super::error::SpoolError;
use super::guest::GuestSpool;
use super::image::Shared;
use super::image::persist::Saved;

/// Where and how much the spool may keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpoolConfig {
    /// Bytes of dom0's memory for all guests together; 0 keeps everything on disk.
    pub memory_bytes: u64,
    /// Folder for what does not fit into memory. Only needed then.
    pub dir: PathBuf,
    /// Bytes each guest may keep, in memory and on disk together.
    pub guest_bytes: u64,
}

/// The daemon's spool. Clones share the memory budget.
#[derive(Clone, Debug)]
pub struct Spool {
    config: Arc<SpoolConfig>,
    memory_dir: Option<PathBuf>,
    memory: Arc<Budget>,
}

impl Spool {
    /// A spool that keeps nothing yet. The folder is first touched when memory does not suffice.
    pub fn new(config: SpoolConfig) -> Spool {
        let memory = Arc::new(Budget::new(config.memory_bytes));
        Spool {
            config: Arc::new(config),
            memory_dir: None,
            memory,
        }
    }

    /// A spool whose images can outlive the daemon ([`Image::save`]): memory is taken in `memory_dir`, a folder of a
    /// memory filesystem that is nobody else's; half of what is free there at most. On disk some space is left free.
    pub fn lasting(mut config: SpoolConfig, memory_dir: PathBuf) -> Result<Spool, SpoolError> {
        make_dir(&memory_dir)?;
        let free = statvfs(&memory_dir).map_err(|errno| SpoolError::Create {
            path: memory_dir.clone(),
            error: errno.into(),
        })?;
        let half = free.f_bavail.saturating_mul(free.f_frsize) / 2;
        if half < config.memory_bytes {
            log::warn!(
                "{} has room for {half} bytes of images, not {}; the rest goes to {}",
                memory_dir.display(),
                config.memory_bytes,
                config.dir.display()
            );
            config.memory_bytes = half;
        }
        if let Err(e) = make_dir(&config.dir) {
            log::warn!("images that do not fit into memory cannot be kept: {e}");
        }
        Ok(Spool {
            memory_dir: Some(memory_dir),
            ..Spool::new(config)
        })
    }

    /// The images that an earlier daemon saved, each to be adopted or discarded. Files that belong to none are removed.
    pub fn saved(&self) -> Vec<Saved> {
        match &self.memory_dir {
            Some(memory_dir) => Saved::find(memory_dir, &self.config.dir),
            None => Vec::new(),
        }
    }

    /// The memory budget of all guests.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }

    /// Where images go that do not fit into memory.
    pub(super) fn dir(&self) -> &std::path::Path {
        &self.config.dir
    }

    /// Where memory is taken, in a lasting spool.
    pub(super) fn memory_dir(&self) -> Option<&std::path::Path> {
        self.memory_dir.as_deref()
    }

    /// An empty spool for a guest, with a quota of its own.
    pub fn guest(&self) -> GuestSpool {
        let quota = Arc::new(Budget::new(self.config.guest_bytes));
        let shared = Shared {
            dir: self.config.dir.clone(),
            memory_dir: self.memory_dir.clone(),
            memory: self.memory.clone(),
            quota,
            keep_free: self.memory_dir.is_some(),
        };
        GuestSpool::new(shared)
    }
}

fn make_dir(path: &std::path::Path) -> Result<(), SpoolError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| SpoolError::Create {
            path: path.to_owned(),
            error,
        })
}
