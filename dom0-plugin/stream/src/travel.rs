//! How a batch travels: chunks that the stream has put somewhere before become copy extents.

use std::ops::Range;

use channel::image::{
    Batch, BatchBuilder, BatchError, CopySource, Digest, DigestStream, Extent, ExtentKind,
    MANIFEST_OBJECT,
};

use super::known::{CHUNK, Chunk, Known, Secret};
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
            // Piece by piece, so that a chunk is fetched from memory once.
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

    /// Decides what travels how, and brings `known` up to date: it is then what the stream says once this batch's record
    /// has been written, which must be the session's next.
    pub fn plan(&self, known: &mut Known) -> Plan<'a> {
        let mut plan = Plan::default();
        let mut digests = self.chunks.iter().copied();
        for &(extent, bytes) in &self.extents {
            let end = extent.offset + u64::from(extent.len);
            match extent.kind {
                ExtentKind::Data => plan.data(extent, bytes, &mut digests, known),
                ExtentKind::Drop => {
                    known.forget_object(extent.object);
                    plan.pieces.push(Piece::whole(extent, bytes));
                }
                _ => {
                    known.forget(extent.object, extent.offset / CHUNK..end.div_ceil(CHUNK));
                    plan.pieces.push(Piece::whole(extent, bytes));
                }
            }
        }
        plan
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
pub(super) struct Plan<'a> {
    pieces: Vec<Piece<'a>>,
}

/// An extent, or a part of one, with its bytes, and where they are copied from, if they are.
struct Piece<'a> {
    extent: Extent,
    bytes: &'a [u8],
    from: Option<CopySource>,
    /// The digest is the whole extent's still.
    cut: bool,
}

impl<'a> Plan<'a> {
    /// Cuts a data extent into runs that are sent and runs that are copied. They are in the order of offsets, and the
    /// receiver applies them in that order: what a chunk was looked up in is what it will find.
    fn data(
        &mut self,
        extent: Extent,
        bytes: &'a [u8],
        digests: &mut impl Iterator<Item = u128>,
        known: &mut Known,
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
            known.forget(object, number..number + 1);
            runs.add(0..whole, None);
        }
        let (chunks, tail) = bytes[whole..].as_chunks::<{ CHUNK as usize }>();
        let mut at = whole;
        for digest in digests.take(chunks.len()) {
            let number = (offset + at as u64) / CHUNK;
            let chunk = Chunk { object, number };
            let found = known.find(digest).filter(|_| object != MANIFEST_OBJECT);
            known.say(chunk, digest);
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
            known.forget(object, number..number + 1);
            runs.add(at..bytes.len(), None);
        }
        let piece = |run: Run| Piece::part(&extent, bytes, run);
        self.pieces.extend(runs.done.into_iter().map(piece));
    }

    /// The batch to send; `None` where nothing of it is copied, or where it has become too many extents: as it came it
    /// says the same.
    pub fn rebuilt(&self) -> Option<BatchBuilder> {
        if self.pieces.iter().all(|piece| piece.from.is_none()) {
            return None;
        }
        let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
        let fits = self.pieces.iter().all(|piece| {
            let mut extent = piece.extent;
            if piece.cut {
                extent.digest = Digest::of(piece.bytes);
            }
            match piece.from {
                None => builder.push(extent, piece.bytes),
                Some(from) => builder.push(extent, &from.to_payload()),
            }
        });
        fits.then_some(builder)
    }
}

impl<'a> Piece<'a> {
    fn whole(extent: Extent, bytes: &'a [u8]) -> Self {
        Piece {
            extent,
            bytes,
            from: None,
            cut: false,
        }
    }

    fn part(extent: &Extent, bytes: &'a [u8], run: Run) -> Self {
        let Run { part, from } = run;
        let len = part.len() as u32;
        let piece = Extent {
            offset: extent.offset + part.start as u64,
            len,
            kind: match from {
                Some(_) => ExtentKind::Copy,
                None => ExtentKind::Data,
            },
            ..*extent
        };
        Piece {
            extent: piece,
            bytes: &bytes[part],
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
    part: Range<usize>,
    from: Option<CopySource>,
}

impl Runs {
    /// The next part, as more of the last run where they go together.
    fn add(&mut self, part: Range<usize>, from: Option<CopySource>) {
        if let Some(last) = self.done.last_mut() {
            let goes = match (last.from, from) {
                (None, None) => true,
                (Some(run), Some(next)) => {
                    let follows = run.object == next.object
                        && run.offset + last.part.len() as u64 == next.offset;
                    // A copy's bytes are all taken before any of them is put: what it puts cannot be part of them.
                    let to = self.offset + last.part.start as u64;
                    let len = (part.end - last.part.start) as u64;
                    let apart = run.object != self.object
                        || run.offset == to
                        || run.offset.abs_diff(to) >= len;
                    follows && apart
                }
                _ => false,
            };
            if goes {
                last.part.end = part.end;
                return;
            }
        }
        self.done.push(Run { part, from });
    }
}
