//! An image as a session fetches it, and as its manifest says it is.

use channel::host::{Contents, Source};
use channel::image::{MANIFEST_OBJECT, SessionKey};
use channel::memory::SharedBytes;
use spool::{Image, SpoolError};
use std::sync::atomic::{AtomicU64, Ordering};

/// Compares an image with its manifest, where it has one.
pub fn check_manifest(key: &SessionKey, image: &Image) -> Result<(), SpoolError> {
    match image.manifest(key.generation) {
        Ok(_) | Err(SpoolError::NoObject(MANIFEST_OBJECT)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Serves fetches from an image.
pub struct ImageSource<'a> {
    image: &'a Image,
    progress: &'a (dyn Fn() + Sync),
    fetched: AtomicU64,
}

impl<'a> ImageSource<'a> {
    /// Calls `progress` while contents go to the guest that it cannot all have had before.
    pub fn new(image: &'a Image, progress: &'a (dyn Fn() + Sync)) -> Self {
        ImageSource {
            image,
            progress,
            fetched: AtomicU64::new(0),
        }
    }
}

impl Source for ImageSource<'_> {
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, channel::BoxError> {
        let contents = self.image.fill(object, offset, to);
        let before = self.fetched.fetch_add(to.len() as u64, Ordering::Relaxed);
        // A guest that fetches the same again and again does not move on by it.
        if before < self.image.totals().bytes {
            (self.progress)();
        }
        Ok(contents?)
    }
}
