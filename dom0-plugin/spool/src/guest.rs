//! One guest's images and its quota.

use std::collections::BTreeMap;

use channel::image::{Extent, SessionKey};
use stream::{ImageSink, Totals};

use super::budget::Budget;
use super::error::SpoolError;
use super::image::persist::Saved;
use super::image::{Image, Shared};

/// One guest's images, by session and generation.
#[derive(Debug)]
pub struct GuestSpool {
    shared: Shared,
    images: BTreeMap<SessionKey, Image>,
}

impl GuestSpool {
    /// No images yet.
    pub(super) fn new(shared: Shared) -> Self {
        GuestSpool {
            shared,
            images: BTreeMap::new(),
        }
    }

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
