//! Writing an image, extent by extent.

use std::ops::Range;
use std::sync::Arc;

use channel::image::{Digest, Extent, ExtentKind};

use super::placement::{parts, take};
use super::{Image, run};
use crate::backing_file::BackingFile;
use crate::error::SpoolError;
use crate::object::{GRANULE, Object};
use crate::store::{Store, ZEROS};

impl Image {
    /// Applies one extent; `bytes` is what the batch's payload has of it.
    ///
    /// `extent` comes out of a parsed batch, so it lies within its object. An error other than
    /// [`SpoolError::Write`] leaves the image as it was.
    pub fn apply(&mut self, extent: &Extent, bytes: &[u8]) -> Result<(), SpoolError> {
        self.begin(extent, bytes)?;
        let object = extent.object;
        if extent.kind == ExtentKind::Drop {
            return self.drop_object(object);
        }
        if extent.kind == ExtentKind::Copy {
            let (data, bytes) = self.copied(extent, bytes)?;
            return self.apply(&data, &bytes);
        }
        if extent.kind == ExtentKind::Data && !bytes.is_empty() {
            let reserved = self.take_space(extent)?;
            if let Err(error) = reserved.write(bytes) {
                self.damaged = true;
                return Err(error);
            }
            self.note(&reserved, reserved.digests(bytes));
            return Ok(());
        }
        let run = run(
            object,
            extent.object_size,
            extent.offset,
            u64::from(extent.len),
        )?;
        let is_new = self.find_or_place(object, extent.object_size)?;
        let done = match run.is_empty() {
            true => Ok(()),
            false => self.zero(object, run),
        };
        if done.is_err() && is_new && !self.damaged {
            self.drop_object(object)?;
        }
        done
    }

    /// Takes space for a data extent, whose bytes are then still to be written: see [`crate::ParallelWriter`]. Checks what
    /// [`Image::apply`] does, and leaves the image as it was on an error.
    pub(crate) fn reserve(
        &mut self,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<Reserved, SpoolError> {
        self.begin(extent, bytes)?;
        self.take_space(extent)
    }

    /// What must hold before an extent changes anything.
    fn begin(&mut self, extent: &Extent, bytes: &[u8]) -> Result<(), SpoolError> {
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        // What is on record must stay as it was recorded.
        self.saved = None;
        if bytes.len() != extent.payload_bytes() {
            let expected = extent.payload_bytes() as u32;
            return Err(SpoolError::WrongLength {
                object: extent.object,
                len: bytes.len(),
                expected,
            });
        }
        Ok(())
    }

    fn take_space(&mut self, extent: &Extent) -> Result<Reserved, SpoolError> {
        let object = extent.object;
        let len = u64::from(extent.len);
        let run = run(object, extent.object_size, extent.offset, len)?;
        let is_new = self.find_or_place(object, extent.object_size)?;
        let placed = match self.allocate(object, run.clone()) {
            Err(full @ SpoolError::NoSpace { .. }) => self
                .move_to_disk(object)
                .and_then(|moved| if moved { Ok(()) } else { Err(full) })
                .and_then(|()| self.allocate(object, run)),
            placed => placed,
        };
        if placed.is_err() && is_new {
            self.drop_object(object)?;
        }
        placed
    }

    /// Space for `run`, marked as taken; nothing of it where that fails.
    fn allocate(&mut self, number: u64, run: Range<u64>) -> Result<Reserved, SpoolError> {
        let (store, object) = parts(&self.memory, &self.disk, &mut self.objects, number)?;
        let (missing, cost) = object.missing(&run);
        take(&self.shared.quota, cost)?;
        for (done, span) in missing.iter().enumerate() {
            if let Err(error) = store.allocate(object.base + span.start, span.end - span.start) {
                // Space that stays behind unused would only be in the way; failing to give it back is no loss.
                for span in &missing[..done] {
                    let _ = store.punch(object.base + span.start, span.end - span.start);
                }
                self.shared.quota.give_back(cost);
                return Err(error);
            }
        }
        Object::touched(&run).for_each(|index| object.set(index, None));
        let whole = |span: &Range<u64>| run.start <= span.start && span.end <= run.end;
        let spans = Object::touched(&run).map(|index| (index, object.span(index)));
        let digested = match store.is_on_disk() {
            true => spans.filter(|(_, span)| whole(span)).collect(),
            false => Vec::new(),
        };
        Ok(Reserved {
            object: number,
            body: store.body(),
            place: store.place().to_owned(),
            at: object.base + run.start,
            start: run.start,
            digested,
        })
    }

    /// Notes the digests of what has been written.
    pub(crate) fn note(&mut self, reserved: &Reserved, digests: Vec<(u64, Digest)>) {
        if let Some(object) = self.objects.get_mut(&reserved.object) {
            for (index, digest) in digests {
                object.note(index, digest);
            }
        }
    }

    /// A write into reserved space has failed: nobody knows what stands there.
    pub(crate) fn damage(&mut self) {
        self.damaged = true;
    }

    fn zero(&mut self, number: u64, run: Range<u64>) -> Result<(), SpoolError> {
        let (store, object) = parts(&self.memory, &self.disk, &mut self.objects, number)?;
        let mut freed = 0;
        let mut done = Ok(());
        for part in object.present(&run) {
            // Whole granules give their space back; the ends are overwritten.
            let first = part.start.next_multiple_of(GRANULE).min(part.end);
            let last = if part.end == object.size {
                part.end
            } else {
                part.end / GRANULE * GRANULE
            };
            let last = last.max(first);
            done = overwrite(store, object, part.start..first)
                .and_then(|()| overwrite(store, object, last..part.end))
                .and_then(|()| match last > first {
                    true => store.punch(object.base + first, last - first),
                    false => Ok(()),
                });
            if done.is_err() {
                break;
            }
            if last > first {
                freed += Object::touched(&(first..last))
                    .map(|index| object.clear(index))
                    .sum::<u64>();
            }
        }
        self.shared.quota.give_back(freed);
        done.map_err(|error| {
            self.damaged = true;
            SpoolError::Write {
                object: number,
                place: store.place().to_owned(),
                error,
            }
        })
    }
}

/// Space that has been taken for a data extent.
#[derive(Debug)]
pub(crate) struct Reserved {
    object: u64,
    body: Arc<BackingFile>,
    place: String,
    /// Offset in the file.
    at: u64,
    /// Offset in the object.
    start: u64,
    /// Granules that it covers whole and whose digests are kept.
    digested: Vec<(u64, Range<u64>)>,
}

impl Reserved {
    /// Writes the extent's bytes.
    pub fn write(&self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.body
            .write(self.at, bytes)
            .map_err(|error| SpoolError::Write {
                object: self.object,
                place: self.place.clone(),
                error,
            })
    }

    pub fn wants_digests(&self) -> bool {
        !self.digested.is_empty()
    }

    /// Digests of whole granules, by index.
    pub fn digests(&self, bytes: &[u8]) -> Vec<(u64, Digest)> {
        let part = |span: &Range<u64>| {
            let range = (span.start - self.start) as usize..(span.end - self.start) as usize;
            Digest::of(&bytes[range])
        };
        self.digested
            .iter()
            .map(|(index, span)| (*index, part(span)))
            .collect()
    }
}

/// Writes zeros over less than a granule that has space.
fn overwrite(store: &Store, object: &mut Object, run: Range<u64>) -> std::io::Result<()> {
    if run.is_empty() {
        return Ok(());
    }
    object.forget_digest(run.start / GRANULE);
    store.write(
        object.base + run.start,
        &ZEROS[..(run.end - run.start) as usize],
    )
}
