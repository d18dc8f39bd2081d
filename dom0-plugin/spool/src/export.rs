//! An image as batches again: for a guest that migrates while its sessions are detached.

use channel::image::{Batch, BatchBuilder, BatchLimits};

use super::error::SpoolError;
use super::image::Image;
use super::object::GRANULE;

/// Longest zero extent written: whole granules, so that it makes holes at the other side.
const MAX_ZERO: u64 = (u32::MAX as u64) / GRANULE * GRANULE;

impl Image {
    /// Gives the whole image to `each` as batches of at most `payload` bytes and `extents` extents.
    ///
    /// Applying them to an empty image makes an equal one. Both limits must be at least 1. The result is
    /// the first error of the spool or of `each`.
    pub fn batches<E: From<SpoolError>>(
        &self,
        payload: usize,
        extents: usize,
        mut each: impl FnMut(&Batch<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        assert!(payload > 0 && extents > 0, "batches of nothing never end");
        let mut builder = BatchBuilder::new(payload, extents);
        let mut buf = Vec::new();
        for (object, size) in self.objects() {
            let mut at = 0;
            let mut runs = self.present(object).into_iter();
            loop {
                let run = runs.next().unwrap_or(size..size);
                // Zeros first, so that an object without any other byte exists too.
                while at < run.start {
                    let len = (run.start - at).min(MAX_ZERO);
                    if builder.push_zero(object, size, at, len as u32) {
                        at += len;
                    } else {
                        flush(&mut builder, &mut each)?;
                    }
                }
                while at < run.end {
                    let len = (run.end - at).min(builder.room() as u64);
                    if len == 0 {
                        flush(&mut builder, &mut each)?;
                        continue;
                    }
                    buf.resize(len as usize, 0);
                    self.read(object, at, &mut buf)?;
                    let fits = builder.push_data(object, size, at, &buf);
                    debug_assert!(fits, "no more than its room");
                    at += len;
                }
                if at >= size {
                    break;
                }
            }
        }
        flush(&mut builder, &mut each)
    }
}

fn flush<E>(
    builder: &mut BatchBuilder,
    each: &mut impl FnMut(&Batch<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if builder.is_empty() {
        return Ok(());
    }
    let limits = BatchLimits {
        max_object_bytes: u64::MAX,
        max_extents: usize::MAX,
        max_data_bytes: u32::MAX,
        copies: false,
    };
    let table = builder.table();
    let batch = Batch::parse(builder.payload(), &table, &limits)
        .expect("a batch just built is well formed");
    each(&batch)?;
    builder.clear();
    Ok(())
}
