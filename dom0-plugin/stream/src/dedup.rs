//! Deduplication: chunks that the stream has put somewhere before become copy extents.

use std::ops::Range;

use channel::image::{
    Batch, BatchBuilder, BatchError, CopySource, Digest, DigestStream, Extent, ExtentKind,
    MANIFEST_OBJECT,
};

use super::chunk_index::{CHUNK, Chunk, ChunkIndex, Secret};
use super::wire::{MAX_EXTENTS, MAX_PAYLOAD};

/// A batch whose extents and chunks have been digested.
pub(super) struct Digested<'a> {
    extents: Vec<(Extent, &'a [u8])>,
    /// Of all data extents' whole chunks, in order.
    chunks: Vec<u128>,
}

impl<'a> Digested<'a> {
    /// Digests everything. Guests may leave an extent's digest out; one that is there has to be right.
    pub fn new(batch: &Batch<'a>, secret: &Secret) -> Result<Self, BatchError> {
        let mut extents: Vec<_> = batch.iter().collect();
        let mut chunks = Vec::with_capacity(batch.payload().len() / CHUNK as usize);
        for (index, (extent, bytes)) in extents.iter_mut().enumerate() {
            let Extent {
                object,
                offset,
                len,
                digest,
                ..
            } = *extent;
            match extent.kind {
                ExtentKind::Data => {}
                ExtentKind::Zero | ExtentKind::Drop => continue,
                ExtentKind::Copy => return Err(BatchError::CopyOutsideStream { index, object }),
            }
            // Chunk by chunk, so that a chunk is fetched from memory once.
            let mut all = DigestStream::new();
            let (before, rest) = bytes.split_at(before_chunks(extent));
            all.update(before);
            let (whole, after) = rest.as_chunks::<{ CHUNK as usize }>();
            for chunk in whole {
                chunks.push(secret.digest(chunk));
                all.update(chunk);
            }
            all.update(after);
            extent.digest = all.digest();
            if digest != Digest::NONE && digest != extent.digest {
                return Err(BatchError::BadDigest {
                    index,
                    object,
                    offset,
                    len,
                });
            }
        }
        Ok(Digested { extents, chunks })
    }

    /// Decides what travels how, and brings `index` up to date: it is then what the stream says once this batch's record
    /// has been written, which must be the session's next.
    pub fn deduplicate(&self, index: &mut ChunkIndex) -> Deduplicated<'a> {
        let mut batch = Deduplicated::default();
        let mut digests = self.chunks.iter().copied();
        for &(extent, bytes) in &self.extents {
            let end = extent.offset + u64::from(extent.len);
            match extent.kind {
                ExtentKind::Data => batch.data(extent, bytes, &mut digests, index),
                ExtentKind::Drop => {
                    index.forget_object(extent.object);
                    batch.parts.push(Part::whole(extent, bytes));
                }
                _ => {
                    index.forget(extent.object, extent.offset / CHUNK..end.div_ceil(CHUNK));
                    batch.parts.push(Part::whole(extent, bytes));
                }
            }
        }
        batch
    }

    /// The extents as they came, with their digests.
    pub fn extents(&self) -> impl ExactSizeIterator<Item = Extent> + '_ {
        self.extents.iter().map(|(extent, _)| *extent)
    }
}

/// Bytes of a data extent before its first whole chunk; all of them where there is none.
fn before_chunks(extent: &Extent) -> usize {
    let before = extent.offset.next_multiple_of(CHUNK) - extent.offset;
    before.min(u64::from(extent.len)) as usize
}

/// What becomes of a batch.
#[derive(Default)]
pub(super) struct Deduplicated<'a> {
    parts: Vec<Part<'a>>,
}

/// An extent, or a part of one, with its bytes, and where they are copied from, if they are.
struct Part<'a> {
    extent: Extent,
    bytes: &'a [u8],
    from: Option<CopySource>,
    /// The digest is the whole extent's still.
    cut: bool,
}

impl<'a> Deduplicated<'a> {
    /// Cuts a data extent into runs that are sent and runs that are copied. They are in the order of offsets, and the
    /// receiver applies them in that order: what a chunk was looked up in is what it will find.
    fn data(
        &mut self,
        extent: Extent,
        bytes: &'a [u8],
        digests: &mut impl Iterator<Item = u128>,
        index: &mut ChunkIndex,
    ) {
        let Extent { object, offset, .. } = extent;
        let whole = before_chunks(&extent);
        let mut runs = Runs {
            object,
            offset,
            done: Vec::new(),
        };
        if whole > 0 {
            let number = offset / CHUNK;
            index.forget(object, number..number + 1);
            runs.add(0..whole, None);
        }
        let (chunks, tail) = bytes[whole..].as_chunks::<{ CHUNK as usize }>();
        let mut at = whole;
        for digest in digests.take(chunks.len()) {
            let number = (offset + at as u64) / CHUNK;
            let chunk = Chunk { object, number };
            let found = index.find(digest).filter(|_| object != MANIFEST_OBJECT);
            index.say(chunk, digest);
            let from = found.map(|found| CopySource {
                object: found.object,
                offset: found.number * CHUNK,
            });
            let end = at + CHUNK as usize;
            runs.add(at..end, from);
            at = end;
        }
        if !tail.is_empty() {
            let number = (offset + at as u64) / CHUNK;
            index.forget(object, number..number + 1);
            runs.add(at..bytes.len(), None);
        }
        let cut = |run: Run| Part::of_run(&extent, bytes, run);
        self.parts.extend(runs.done.into_iter().map(cut));
    }

    /// The batch to send; `None` where nothing of it is copied, or where it has become too many extents: as it came it
    /// says the same.
    pub fn rebuilt(&self) -> Option<BatchBuilder> {
        if self.parts.iter().all(|part| part.from.is_none()) {
            return None;
        }
        let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
        let fits = self.parts.iter().all(|part| {
            let mut extent = part.extent;
            if part.cut {
                extent.digest = Digest::of(part.bytes);
            }
            match part.from {
                None => builder.push(extent, part.bytes),
                Some(from) => builder.push(extent, &from.to_payload()),
            }
        });
        fits.then_some(builder)
    }
}

impl<'a> Part<'a> {
    fn whole(extent: Extent, bytes: &'a [u8]) -> Self {
        Part {
            extent,
            bytes,
            from: None,
            cut: false,
        }
    }

    fn of_run(extent: &Extent, bytes: &'a [u8], run: Run) -> Self {
        let Run { range, from } = run;
        let len = range.len() as u32;
        let extent_of_run = Extent {
            offset: extent.offset + range.start as u64,
            len,
            kind: match from {
                Some(_) => ExtentKind::Copy,
                None => ExtentKind::Data,
            },
            ..*extent
        };
        Part {
            extent: extent_of_run,
            bytes: &bytes[range],
            from,
            cut: len != extent.len,
        }
    }
}

/// The runs of one data extent.
struct Runs {
    object: u64,
    offset: u64,
    done: Vec<Run>,
}

struct Run {
    /// Within the extent.
    range: Range<usize>,
    from: Option<CopySource>,
}

impl Runs {
    /// The next part, as more of the last run where they go together.
    fn add(&mut self, range: Range<usize>, from: Option<CopySource>) {
        if let Some(last) = self.done.last_mut() {
            let goes = match (last.from, from) {
                (None, None) => true,
                (Some(run), Some(next)) => {
                    let follows = run.object == next.object
                        && run.offset + last.range.len() as u64 == next.offset;
                    // A copy's bytes are all taken before any of them is put: what it puts cannot be part of them.
                    let to = self.offset + last.range.start as u64;
                    let len = (range.end - last.range.start) as u64;
                    let apart = run.object != self.object
                        || run.offset == to
                        || run.offset.abs_diff(to) >= len;
                    follows && apart
                }
                _ => false,
            };
            if goes {
                last.range.end = range.end;
                return;
            }
        }
        self.done.push(Run { range, from });
    }
}
