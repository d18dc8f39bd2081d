//! Images that are not complete yet.

use crate::images::Images;
use channel::image::{Extent, ExtentKind, SessionKey};
use protocol::report::GpuBytes;
use spool::{Image, SpoolError};
use std::collections::BTreeMap;
use stream::{ImageSink, STOP_ROUND, Totals};

/// What a stream's records fill.
pub struct ArrivingImages<'d> {
    images: &'d Images,
    domid: u32,
    by_key: BTreeMap<SessionKey, Image>,
    precopy: BTreeMap<u32, u64>,
    stop: u64,
    copies: u64,
    zero: u64,
}

impl<'d> ArrivingImages<'d> {
    /// None, beside those that `images` has of the domain.
    pub fn new(images: &'d Images, domid: u32) -> Self {
        ArrivingImages {
            images,
            domid,
            by_key: BTreeMap::new(),
            precopy: BTreeMap::new(),
            stop: 0,
            copies: 0,
            zero: 0,
        }
    }

    /// The images, and what came for them.
    pub fn finish(self) -> (BTreeMap<SessionKey, Image>, GpuBytes) {
        let bytes = GpuBytes {
            precopy: self.precopy.into_values().collect(),
            stop: self.stop,
            copies: self.copies,
            zero: self.zero,
        };
        (self.by_key, bytes)
    }
}

impl ImageSink for ArrivingImages<'_> {
    type Error = SpoolError;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), SpoolError> {
        for key in sessions {
            if self.images.has(self.domid, key) {
                return Err(SpoolError::Exists(*key));
            }
            self.by_key.insert(*key, self.images.new_image(self.domid));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        key: &SessionKey,
        round: u32,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<(), SpoolError> {
        let image = self.by_key.get_mut(key).ok_or(SpoolError::NoImage(*key))?;
        image.apply(extent, bytes)?;
        let len = u64::from(extent.len);
        match extent.kind {
            ExtentKind::Data => {}
            ExtentKind::Copy => self.copies += len,
            ExtentKind::Zero => {
                self.zero += len;
                return Ok(());
            }
            ExtentKind::Drop => return Ok(()),
        }
        let count = match round {
            STOP_ROUND => &mut self.stop,
            // A sender that counts rounds without end is listed up to here.
            n => self.precopy.entry(n.min(999)).or_default(),
        };
        *count += len;
        Ok(())
    }

    fn totals(&self, key: &SessionKey) -> Totals {
        self.by_key.get(key).map(Image::totals).unwrap_or_default()
    }
}
