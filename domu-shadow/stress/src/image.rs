//! What a capture left, in private memory.

use std::collections::BTreeMap;
use std::time::Duration;

use channel::host::{Contents, SerialSink, Source};
use channel::image::{Batch, ExtentKind};
use channel::memory::SharedBytes;

/// Contents by object.
#[derive(Default)]
pub(super) struct Image {
    objects: BTreeMap<u64, Vec<u8>>,
    /// Bytes of contents taken in, over all captures.
    pub(super) taken: u64,
    /// Waited for before each answer to a fetch, while contents arrive.
    slowness: Duration,
}

impl Image {
    /// Serves slowly from now on, or as fast as it can with `ZERO`.
    pub(super) fn serve_slowly(&mut self, slowness: Duration) {
        self.slowness = slowness;
    }

    fn pause(&self) {
        if !self.slowness.is_zero() {
            std::thread::sleep(self.slowness);
        }
    }

    /// Forgets the contents; the count stays.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
    }
}

impl SerialSink for Image {
    fn batch(&mut self, _round: u32, batch: &Batch<'_>) -> Result<(), channel::BoxError> {
        for (extent, bytes) in batch.iter() {
            if extent.kind == ExtentKind::Drop {
                self.objects.remove(&extent.object);
                continue;
            }
            let size = extent.object_size as usize;
            let object = self.objects.entry(extent.object);
            // Memory of the kernel's, which is zero: a large object costs what is written to it.
            let object = object.or_insert_with(|| vec![0; size]);
            object.resize(size, 0);
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
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, channel::BoxError> {
        self.pause();
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
        if from.iter().all(|byte| *byte == 0) {
            return Ok(Contents::Zero);
        }
        to.write(from);
        Ok(Contents::Bytes)
    }
}
