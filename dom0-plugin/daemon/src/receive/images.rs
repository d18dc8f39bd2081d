//! Images that are not complete yet.

use crate::images::Images;
use crate::notice::{Notice, OtherChip};
use channel::image::{Extent, ExtentKind, SessionKey};
use protocol::report::GpuBytes;
use spool::{Image, SpoolError};
use std::collections::BTreeMap;
use stream::{ImageSink, NOTICE_OBJECT, STOP_ROUND, Totals};

/// What the host says to a notice.
pub type Host<'h> = dyn Fn(&Notice) -> Result<(), OtherChip> + Sync + 'h;

/// What a stream's records fill.
pub struct ArrivingImages<'d> {
    images: &'d Images,
    domid: u32,
    by_key: BTreeMap<SessionKey, Image>,
    precopy: BTreeMap<u32, u64>,
    stop: u64,
    copies: u64,
    zero: u64,
    host: &'d Host<'d>,
    told: Told,
}

/// How far the stream has come with what it tells the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// No record has come: the first may be a notice.
    Nothing,
    /// It was one, and is dropped next.
    Notice,
    /// Contents.
    All,
}

/// Something cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ArrivingError {
    #[error(transparent)]
    Image(#[from] SpoolError),
    #[error(transparent)]
    OtherChip(#[from] OtherChip),
}

impl<'d> ArrivingImages<'d> {
    /// None, beside those that `images` has of the domain.
    pub fn new(images: &'d Images, domid: u32, host: &'d Host<'d>) -> Self {
        ArrivingImages {
            images,
            domid,
            by_key: BTreeMap::new(),
            precopy: BTreeMap::new(),
            stop: 0,
            copies: 0,
            zero: 0,
            host,
            told: Told::Nothing,
        }
    }

    /// Whether an extent is the source's word to this host, and not an image's.
    fn is_notice(&mut self, extent: &Extent, bytes: &[u8]) -> Result<bool, OtherChip> {
        let before = std::mem::replace(&mut self.told, Told::All);
        match (before, extent.kind) {
            _ if extent.object != NOTICE_OBJECT => Ok(false),
            (Told::Nothing, ExtentKind::Data) => {
                self.told = Told::Notice;
                // A later version's may say what is not known here.
                Notice::parse(bytes).map_or(Ok(true), |notice| (self.host)(&notice).map(|()| true))
            }
            (Told::Notice, ExtentKind::Drop) => Ok(true),
            _ => Ok(false),
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
    type Error = ArrivingError;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), ArrivingError> {
        for key in sessions {
            if self.images.has(self.domid, key) {
                return Err(SpoolError::Exists(*key).into());
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
    ) -> Result<(), ArrivingError> {
        if self.is_notice(extent, bytes)? {
            return Ok(());
        }
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
