//! What a capture left, in private memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use channel::host::{Contents, SerialSink, Source};
use channel::image::{Batch, ExtentKind};
use channel::memory::SharedBytes;

/// Memory is taken in pieces of this many bytes.
const PIECE: usize = 1 << 20;

/// Contents by object.
#[derive(Default)]
pub(super) struct Image {
    objects: BTreeMap<u64, Object>,
    /// Bytes of contents taken in, over all captures.
    pub(super) taken: u64,
    /// Waited for before each answer to a fetch, while contents arrive.
    slowness: Duration,
}

/// A large object costs what is written to it.
struct Object {
    size: usize,
    /// What is not there is zero.
    pieces: Vec<Option<Box<[u8]>>>,
}

impl Object {
    fn new(size: usize) -> Object {
        let mut object = Object {
            size: 0,
            pieces: Vec::new(),
        };
        object.resize(size);
        object
    }

    /// What is new is zero.
    fn resize(&mut self, size: usize) {
        if size < self.size {
            self.zero(size..self.size);
        }
        self.pieces.resize_with(size.div_ceil(PIECE), || None);
        self.size = size;
    }

    /// The parts of pieces that make up `range`: piece, place in it, place in the range, length.
    fn parts(range: Range<usize>) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let start = range.start;
        std::iter::successors(Some(start), |at| Some((at / PIECE + 1) * PIECE))
            .take_while(move |at| *at < range.end)
            .map(move |at| {
                let end = ((at / PIECE + 1) * PIECE).min(range.end);
                (at / PIECE, at % PIECE, at - start, end - at)
            })
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        for (piece, at, from, len) in Object::parts(start..start + bytes.len()) {
            let piece = self.pieces[piece].get_or_insert_with(|| vec![0; PIECE].into());
            piece[at..at + len].copy_from_slice(&bytes[from..from + len]);
        }
    }

    fn zero(&mut self, range: Range<usize>) {
        for (piece, at, _, len) in Object::parts(range) {
            match &mut self.pieces[piece] {
                piece if len == PIECE => *piece = None,
                Some(piece) => piece[at..at + len].fill(0),
                None => {}
            }
        }
    }

    /// `None` if all of it is zero.
    fn read(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let mut bytes: Option<Vec<u8>> = None;
        for (piece, at, to, len) in Object::parts(range.clone()) {
            let Some(piece) = &self.pieces[piece] else {
                continue;
            };
            let part = &piece[at..at + len];
            if part.iter().any(|byte| *byte != 0) {
                bytes.get_or_insert_with(|| vec![0; range.len()])[to..to + len]
                    .copy_from_slice(part);
            }
        }
        bytes
    }
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
            let object = object.or_insert_with(|| Object::new(size));
            object.resize(size);
            let start = extent.offset as usize;
            match extent.kind {
                ExtentKind::Data => object.write(start, bytes),
                _ => object.zero(start..start + extent.len as usize),
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
        let object = self
            .objects
            .get(&object)
            .filter(|object| start.saturating_add(to.len()) <= object.size)
            .ok_or_else(|| {
                format!(
                    "{} bytes at {offset} of object {object} were never captured",
                    to.len()
                )
            })?;
        let Some(bytes) = object.read(start..start + to.len()) else {
            return Ok(Contents::Zero);
        };
        to.write(&bytes);
        Ok(Contents::Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_written_across_pieces() {
        let mut object = Object::new(3 * PIECE + 5);
        assert_eq!(object.read(0..3 * PIECE + 5), None);
        object.write(PIECE - 2, &[1, 2, 3, 4]);
        object.write(3 * PIECE, &[9; 5]);
        assert_eq!(
            object.read(PIECE - 3..PIECE + 3).unwrap(),
            [0, 1, 2, 3, 4, 0]
        );
        assert_eq!(object.read(3 * PIECE..3 * PIECE + 5).unwrap(), [9; 5]);
        assert!(object.pieces[2].is_none(), "nothing was written there");
        object.zero(PIECE - 1..2 * PIECE);
        assert_eq!(object.read(PIECE - 2..PIECE + 3).unwrap(), [1, 0, 0, 0, 0]);
        assert!(object.pieces[1].is_none(), "all of it is zero");
        object.resize(3 * PIECE + 2);
        object.resize(4 * PIECE);
        assert_eq!(object.read(3 * PIECE..3 * PIECE + 3).unwrap(), [9, 9, 0]);
    }
}
