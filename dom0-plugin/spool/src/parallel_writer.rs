//! Writing an image from several threads at once.
//!
//! ```text
//!  reserve   image locked    object found or made, space taken and marked
//!  write     side by side    bytes into the file
//!  note      image locked    digests of what lies on disk
//! ```
//!
//! Batches that are applied at the same time do not overlap, or say the same: those of one round, and rounds come one
//! after the other. Should a guest not keep to that, its own image is what suffers: a part of it may hold either's bytes,
//! and one on disk is refused when it is read. Zeros and drops give space back, so they wait until nobody writes: what
//! has been given back cannot be taken again by a write that is late.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use channel::image::{Batch, Extent, ExtentKind};

use super::error::SpoolError;
use super::image::Image;
use super::image::write::Reserved;

/// Several threads' way into an image.
#[derive(Debug)]
pub struct ParallelWriter<'a> {
    image: Mutex<&'a mut Image>,
    /// Held shared by those who write, alone by those who give space back.
    writing: RwLock<()>,
}

impl<'a> ParallelWriter<'a> {
    /// Until it is dropped, the image is filled through this alone.
    pub fn new(image: &'a mut Image) -> Self {
        ParallelWriter {
            image: Mutex::new(image),
            writing: RwLock::new(()),
        }
    }

    fn image(&self) -> MutexGuard<'_, &'a mut Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a batch's extents in order, as [`Image::apply`] does.
    pub fn apply(&self, batch: &Batch<'_>) -> Result<(), SpoolError> {
        let extents: Vec<(Extent, &[u8])> = batch.iter().collect();
        let is_data = |extent: &Extent| extent.kind == ExtentKind::Data;
        for group in extents.chunk_by(|(a, _), (b, _)| is_data(a) == is_data(b)) {
            if group.iter().any(|(extent, _)| is_data(extent)) {
                self.write(group)?;
                continue;
            }
            let _alone = self.writing.write().unwrap_or_else(PoisonError::into_inner);
            let mut image = self.image();
            for (extent, bytes) in group {
                image.apply(extent, bytes)?;
            }
        }
        Ok(())
    }

    fn write(&self, data: &[(Extent, &[u8])]) -> Result<(), SpoolError> {
        let _shared = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        let mut image = self.image();
        let reserved: Vec<Reserved> = data
            .iter()
            .map(|(extent, bytes)| image.reserve(extent, bytes))
            .collect::<Result<_, _>>()?;
        drop(image);
        for (place, (_, bytes)) in reserved.iter().zip(data) {
            if let Err(error) = place.write(bytes) {
                self.image().damage();
                return Err(error);
            }
        }
        if reserved.iter().any(Reserved::wants_digests) {
            let digests: Vec<_> = reserved
                .iter()
                .zip(data)
                .map(|(r, (_, b))| r.digests(b))
                .collect();
            let mut image = self.image();
            for (place, digests) in reserved.iter().zip(digests) {
                image.note(place, digests);
            }
        }
        Ok(())
    }
}
