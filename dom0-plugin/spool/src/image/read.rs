//! Reading an image.

use std::ops::Range;

use channel::host::Contents;
use channel::image::Digest;
use channel::memory::SharedBytes;

use super::{Image, run};
use crate::error::SpoolError;
use crate::object::{Medium, Object};

impl Image {
    /// The object, and the part of it that is meant.
    fn find(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> Result<(&Object, Range<u64>), SpoolError> {
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        let found = self
            .objects
            .get(&object)
            .ok_or(SpoolError::NoObject(object))?;
        Ok((found, run(object, found.size, offset, len)?))
    }

    /// Reads `buf.len()` bytes of `object` at `offset`.
    ///
    /// Parts that came from disk are compared with their digests where those are known.
    pub fn read(&self, object: u64, offset: u64, buf: &mut [u8]) -> Result<(), SpoolError> {
        let (found, run) = self.find(object, offset, buf.len() as u64)?;
        if run.is_empty() {
            return Ok(());
        }
        let store = match found.medium {
            Medium::Memory => self.memory.as_ref(),
            Medium::Disk => self.disk.as_ref(),
        };
        let store = store.ok_or(SpoolError::NoObject(object))?;
        let within =
            |part: &Range<u64>| (part.start - run.start) as usize..(part.end - run.start) as usize;
        let mut zero_from = 0;
        for part in found.present(&run) {
            let at = within(&part);
            buf[zero_from..at.start].fill(0);
            zero_from = at.end;
            store
                .read(found.base + part.start, &mut buf[at])
                .map_err(|error| SpoolError::Read {
                    object,
                    offset: part.start,
                    place: store.place().to_owned(),
                    error,
                })?;
        }
        buf[zero_from..].fill(0);
        for (span, written) in found.digests(&run) {
            let found = Digest::of(&buf[within(&span)]);
            if found != written {
                let (offset, place) = (span.start, store.place().to_owned());
                return Err(SpoolError::Corrupt {
                    object,
                    offset,
                    place,
                    written,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Fills shared memory with the bytes of `object` at `offset`: what is in memory goes there without a copy between.
    /// Nothing is written where all of it is known to be zero.
    pub fn fill(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, SpoolError> {
        let (found, run) = self.find(object, offset, to.len() as u64)?;
        let present = found.present(&run);
        if present.is_empty() {
            return Ok(Contents::Zero);
        }
        let (Medium::Memory, Some(store)) = (found.medium, self.memory.as_ref()) else {
            // Parts from disk are compared with their digests before anybody else can change them.
            let mut private = vec![0; to.len()];
            self.read(object, offset, &mut private)?;
            to.write(&private);
            return Ok(Contents::Bytes);
        };
        let part = |range: Range<u64>| {
            let at = (range.start - run.start) as usize;
            let part = to.slice(at, (range.end - range.start) as usize);
            part.expect("the range lies in the run")
        };
        let mut zero_from = run.start;
        for range in present {
            part(zero_from..range.start).fill_zero();
            zero_from = range.end;
            store
                .fill(found.base + range.start, part(range.clone()))
                .map_err(|error| SpoolError::Read {
                    object,
                    offset: range.start,
                    place: store.place().to_owned(),
                    error,
                })?;
        }
        part(zero_from..run.end).fill_zero();
        Ok(Contents::Bytes)
    }
}
