//! The spool of one guest: its images and its quota.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use channel::image::{Extent, SessionKey};
use rustix::fs::statvfs;

use super::image::{Saved, Shared};
use super::{Budget, Image, SpoolError};
use stream::{ImageSink, Totals};

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
        GuestSpool {
            shared,
            images: BTreeMap::new(),
        }
    }
}

/// One guest's images, by session and generation.
#[derive(Debug)]
pub struct GuestSpool {
    shared: Shared,
    images: BTreeMap<SessionKey, Image>,
}

impl GuestSpool {
    /// An image that shares the guest's quota and belongs to the caller: a capture fills it without
    /// holding the guest's other images up, and [`GuestSpool::insert`]s it once it is complete.
    pub fn new_image(&self) -> Image {
        Image::new(self.shared.clone())
    }

    /// The image that an earlier daemon saved, now within this guest's quota.
    pub fn adopt(&self, saved: Saved) -> Result<Image, SpoolError> {
        saved.open(self.shared.clone())
    }

    /// Keeps `image` under `key`, which must be free.
    pub fn insert(&mut self, key: SessionKey, image: Image) -> Result<(), SpoolError> {
        if self.images.contains_key(&key) {
            return Err(SpoolError::Exists(key));
        }
        self.images.insert(key, image);
        Ok(())
    }

    /// The image of `key`.
    pub fn get(&self, key: &SessionKey) -> Option<&Image> {
        self.images.get(key)
    }

    /// Gives the image of `key` up to the caller; dropping it frees its space.
    pub fn remove(&mut self, key: &SessionKey) -> Option<Image> {
        self.images.remove(key)
    }

    /// All images, in order of session and generation.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, &Image)> {
        self.images.iter()
    }

    /// The guest's quota.
    pub fn quota(&self) -> &Budget {
        &self.shared.quota
    }
}

/// A guest's spool receives a migration stream.
impl ImageSink for GuestSpool {
    type Error = SpoolError;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), SpoolError> {
        if let Some(key) = sessions.iter().find(|key| self.images.contains_key(key)) {
            return Err(SpoolError::Exists(*key));
        }
        for key in sessions {
            self.insert(*key, self.new_image())?;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        key: &SessionKey,
        _round: u32,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<(), SpoolError> {
        let image = self.images.get_mut(key).ok_or(SpoolError::NoImage(*key))?;
        image.apply(extent, bytes)
    }

    fn totals(&self, key: &SessionKey) -> Totals {
        self.images.get(key).map(Image::totals).unwrap_or_default()
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
