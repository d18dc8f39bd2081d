//! What a capture left, in private memory.

use std::collections::BTreeMap;

use channel::host::{Sink, Source};
use channel::image::{Batch, ExtentKind};

/// Contents by object.
#[derive(Default)]
pub(super) struct Image {
    objects: BTreeMap<u64, Vec<u8>>,
    /// Bytes of contents taken in, over all captures.
    pub(super) taken: u64,
}

impl Image {
    /// Forgets the contents; the count stays.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
    }
}

impl Sink for Image {
    fn batch(&mut self, _round: u32, batch: &Batch<'_>) -> Result<(), String> {
        for (extent, bytes) in batch.iter() {
            if extent.kind == ExtentKind::Drop {
                self.objects.remove(&extent.object);
                continue;
            }
            let object = self.objects.entry(extent.object).or_default();
            object.resize(extent.object_size as usize, 0);
            let start = extent.offset as usize;
            let part = &mut object[start..start + extent.len as usize];
            match extent.kind {
                ExtentKind::Data => part.copy_from_slice(bytes),
                _ => part.fill(0),
            }
            self.taken += u64::from(extent.len);
        }
        Ok(())
    }
}

impl Source for Image {
    fn read(&mut self, object: u64, offset: u64, to: &mut [u8]) -> Result<(), String> {
        let start = offset as usize;
        let from = self
            .objects
            .get(&object)
            .and_then(|bytes| bytes.get(start..)?.get(..to.len()))
            .ok_or_else(|| {
                format!(
                    "{} bytes at {offset} of object {object} were never captured",
                    to.len()
                )
            })?;
        to.copy_from_slice(from);
        Ok(())
    }
}
