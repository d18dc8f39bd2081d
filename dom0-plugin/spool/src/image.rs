//! One image: the objects of a session at one capture.

mod copy;
pub(super) mod persist;
mod placement;
mod read;
pub(super) mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use channel::image::{MANIFEST_OBJECT, MAX_MANIFEST_BYTES, Manifest, ManifestError};

use super::budget::Budget;
use super::error::SpoolError;
use super::object::{Medium, Object};
use super::saved_files::SavedFiles;
use super::store::Store;
use stream::Totals;

/// What an object costs beside its bytes, so that empty objects are bounded too.
const OBJECT_COST: u64 = 1024;

/// What images share with others.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    /// Folder of a memory filesystem, for images that are to outlive the daemon.
    pub memory_dir: Option<PathBuf>,
    pub memory: Arc<Budget>,
    pub quota: Arc<Budget>,
    /// Whether files on disk leave some of their filesystem free.
    pub keep_free: bool,
}

/// The objects of a session at one capture. Dropping it frees its space.
#[derive(Debug)]
pub struct Image {
    pub(super) shared: Shared,
    memory: Option<Store>,
    disk: Option<Store>,
    objects: BTreeMap<u64, Object>,
    bytes: u64,
    damaged: bool,
    saved: Option<SavedFiles>,
}

impl Image {
    pub(super) fn new(shared: Shared) -> Image {
        let (memory, disk, objects) = (None, None, BTreeMap::new());
        Image {
            shared,
            memory,
            disk,
            objects,
            bytes: 0,
            damaged: false,
            saved: None,
        }
    }

    /// Takes it off the record: it goes with this process.
    pub fn off_record(mut self) -> Image {
        self.saved = None;
        self
    }

    /// Numbers and sizes of the objects, in order of number.
    pub fn objects(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.objects
            .iter()
            .map(|(&number, object)| (number, object.size))
    }

    /// Size of an object in bytes.
    pub fn object_size(&self, object: u64) -> Option<u64> {
        self.objects.get(&object).map(|object| object.size)
    }

    /// Runs of an object that have space, in order; everything else in it is zero.
    pub(super) fn present(&self, object: u64) -> Vec<Range<u64>> {
        self.objects
            .get(&object)
            .map(Object::all_present)
            .unwrap_or_default()
    }

    /// What the image holds, as a seal states it.
    pub fn totals(&self) -> Totals {
        Totals {
            objects: self.objects.len() as u64,
            bytes: self.bytes,
        }
    }

    /// Bytes of memory and disk the image takes.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.values().map(Object::stored).sum()
    }

    /// The manifest, checked against the objects and `generation`.
    pub fn manifest(&self, generation: u64) -> Result<Manifest, SpoolError> {
        let size = self
            .object_size(MANIFEST_OBJECT)
            .ok_or(SpoolError::NoObject(MANIFEST_OBJECT))?;
        if size > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(size).into());
        }
        let mut bytes = vec![0; size as usize];
        self.read(MANIFEST_OBJECT, 0, &mut bytes)?;
        let manifest = Manifest::parse(&bytes)?;
        manifest.check(generation, self.objects())?;
        Ok(manifest)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for object in self.objects.values() {
            self.shared.quota.give_back(OBJECT_COST + object.stored());
            if object.medium == Medium::Memory {
                self.shared.memory.give_back(Object::addressed(object.size));
            }
        }
    }
}

fn run(object: u64, size: u64, offset: u64, len: u64) -> Result<Range<u64>, SpoolError> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(offset..end),
        _ => Err(SpoolError::OutOfRange {
            object,
            offset,
            len,
            size,
        }),
    }
}
