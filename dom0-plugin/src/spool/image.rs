//! One image: the objects of a session at one capture.

mod copy;
mod persist;

pub use persist::Saved;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use channel::host::Contents;
use channel::image::{
    Digest, Extent, ExtentKind, MANIFEST_OBJECT, MAX_MANIFEST_BYTES, Manifest, ManifestError,
};
use channel::memory::SharedBytes;

use super::body::Body;
use super::object::{GRANULE, Home, Object};
use super::store::{Store, ZEROS};
use super::{Budget, SpoolError};
use crate::stream::Totals;

/// Most objects of an image: each takes the daemon's own memory, too.
const MAX_OBJECTS: usize = 1 << 20;

/// What an object costs beside its bytes, so that empty objects are bounded too.
const OBJECT_COST: u64 = 1024;

/// What images share with others.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    /// Folder of a memory filesystem, for images that are to outlive the daemon.
    pub memory_dir: Option<PathBuf>,
    pub memory: Arc<Budget>,
    pub quota: Arc<Budget>,
    /// Whether files on disk leave some of their filesystem free.
    pub keep_free: bool,
}

/// The objects of a session at one capture. Dropping it frees its space.
#[derive(Debug)]
pub struct Image {
    pub(super) shared: Shared,
    memory: Option<Store>,
    disk: Option<Store>,
    objects: BTreeMap<u64, Object>,
    bytes: u64,
    damaged: bool,
    saved: Option<persist::Names>,
}

impl Image {
    pub(super) fn new(shared: Shared) -> Image {
        let (memory, disk, objects) = (None, None, BTreeMap::new());
        Image {
            shared,
            memory,
            disk,
            objects,
            bytes: 0,
            damaged: false,
            saved: None,
        }
    }

    /// Applies one extent; `bytes` is what the batch's payload has of it.
    ///
    /// `extent` comes out of a parsed batch, so it lies within its object. An error other than
    /// [`SpoolError::Write`] leaves the image as it was.
    pub fn apply(&mut self, extent: &Extent, bytes: &[u8]) -> Result<(), SpoolError> {
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        // What is on record must stay as it was recorded.
        self.saved = None;
        let object = extent.object;
        if bytes.len() != extent.payload_bytes() {
            let expected = extent.payload_bytes() as u32;
            return Err(SpoolError::WrongLength {
                object,
                len: bytes.len(),
                expected,
            });
        }
        if extent.kind == ExtentKind::Drop {
            return self.drop_object(object);
        }
        if extent.kind == ExtentKind::Copy {
            let (data, bytes) = self.copied(extent, bytes)?;
            return self.apply(&data, &bytes);
        }
        if extent.kind == ExtentKind::Data && !bytes.is_empty() {
            let reserved = self.reserve(extent, bytes)?;
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

    /// Makes sure the object exists with this size; `true` if it did not.
    fn find_or_place(&mut self, object: u64, size: u64) -> Result<bool, SpoolError> {
        if let Some(found) = self.objects.get(&object) {
            return match found.size == size {
                true => Ok(false),
                false => Err(SpoolError::SizeChanged {
                    object,
                    held: found.size,
                    claimed: size,
                }),
            };
        }
        if self.objects.len() >= MAX_OBJECTS {
            return Err(SpoolError::TooMany(MAX_OBJECTS));
        }
        take(&self.shared.quota, OBJECT_COST)?;
        let placed = self.place(object, size);
        match placed {
            Ok(placed) => {
                self.objects.insert(object, placed);
                self.bytes += size;
                Ok(true)
            }
            Err(error) => {
                self.shared.quota.give_back(OBJECT_COST);
                Err(error)
            }
        }
    }

    fn place(&mut self, object: u64, size: u64) -> Result<Object, SpoolError> {
        // An object's whole size is taken out of the memory budget: it may fill up.
        let in_memory = size <= i64::MAX as u64 && self.shared.memory.take(Object::addressed(size));
        let home = match in_memory {
            true => Home::Memory,
            false => Home::Disk,
        };
        let placed = self.place_in(home, object, size);
        if placed.is_err() && in_memory {
            self.shared.memory.give_back(Object::addressed(size));
        }
        placed
    }

    /// Gives an object without data a place on disk: memory may be fuller than its budget says. `false` where it has
    /// data, or is there.
    fn move_to_disk(&mut self, number: u64) -> Result<bool, SpoolError> {
        let size = match self.objects.get(&number) {
            Some(o) if o.home == Home::Memory && o.stored() == 0 => o.size,
            _ => return Ok(false),
        };
        let moved = self.place_in(Home::Disk, number, size)?;
        if let Some(old) = self.objects.insert(number, moved) {
            let addressed = Object::addressed(old.size);
            self.shared.memory.give_back(addressed);
            if let Some(store) = &mut self.memory {
                store.forget_object(old.base, addressed);
            }
        }
        Ok(true)
    }

    fn place_in(&mut self, home: Home, object: u64, size: u64) -> Result<Object, SpoolError> {
        let too_large = |place: &str| {
            let place = place.to_owned();
            SpoolError::TooLarge {
                object,
                bytes: size,
                place,
            }
        };
        if size > i64::MAX as u64 {
            return Err(too_large("memory"));
        }
        let addressed = Object::addressed(size);
        let keep_free = self.shared.keep_free;
        let (dir, memory_dir) = (&self.shared.dir, self.shared.memory_dir.as_deref());
        let placed = match home {
            Home::Memory => open(&mut self.memory, || Store::in_memory(memory_dir)),
            Home::Disk => open(&mut self.disk, || Store::on_disk(dir, keep_free)),
        };
        placed.and_then(|store| {
            let base = store
                .place_object(addressed)
                .ok_or_else(|| too_large(store.place()))?;
            Ok(Object::new(size, home, base))
        })
    }

    /// Takes space for a data extent, whose bytes are then still to be written: see [`super::Filling`]. Checks what
    /// [`Image::apply`] does, and leaves the image as it was on an error.
    pub(super) fn reserve(
        &mut self,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<Reserved, SpoolError> {
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        // What is on record must stay as it was recorded.
        self.saved = None;
        let object = extent.object;
        if bytes.len() != extent.payload_bytes() {
            let expected = extent.payload_bytes() as u32;
            return Err(SpoolError::WrongLength {
                object,
                len: bytes.len(),
                expected,
            });
        }
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
    pub(super) fn note(&mut self, reserved: &Reserved, digests: Vec<(u64, Digest)>) {
        if let Some(object) = self.objects.get_mut(&reserved.object) {
            for (index, digest) in digests {
                object.note(index, digest);
            }
        }
    }

    /// A write into reserved space has failed: nobody knows what stands there.
    pub(super) fn damage(&mut self) {
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

    fn drop_object(&mut self, number: u64) -> Result<(), SpoolError> {
        let Some(object) = self.objects.remove(&number) else {
            return Ok(());
        };
        self.bytes -= object.size;
        self.shared.quota.give_back(OBJECT_COST + object.stored());
        let addressed = Object::addressed(object.size);
        let store = match object.home {
            Home::Memory => &mut self.memory,
            Home::Disk => &mut self.disk,
        };
        let Some(store) = store else { return Ok(()) };
        if object.home == Home::Memory {
            self.shared.memory.give_back(addressed);
        }
        // One call: most of an object is holes or not, either way the filesystem knows best.
        if addressed > 0 && object.stored() > 0 {
            store.punch(object.base, addressed).map_err(|error| {
                self.damaged = true;
                SpoolError::Write {
                    object: number,
                    place: store.place().to_owned(),
                    error,
                }
            })?;
        }
        store.forget_object(object.base, addressed);
        Ok(())
    }

    /// Reads `buf.len()` bytes of `object` at `offset`.
    ///
    /// Parts that came from disk are compared with their digests where those are known.
    pub fn read(&self, object: u64, offset: u64, buf: &mut [u8]) -> Result<(), SpoolError> {
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        let found = self
            .objects
            .get(&object)
            .ok_or(SpoolError::NoObject(object))?;
        let run = run(object, found.size, offset, buf.len() as u64)?;
        if run.is_empty() {
            return Ok(());
        }
        let store = match found.home {
            Home::Memory => self.memory.as_ref(),
            Home::Disk => self.disk.as_ref(),
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
        if self.damaged {
            return Err(SpoolError::Damaged);
        }
        let found = self
            .objects
            .get(&object)
            .ok_or(SpoolError::NoObject(object))?;
        let run = run(object, found.size, offset, to.len() as u64)?;
        let present = found.present(&run);
        if present.is_empty() {
            return Ok(Contents::Zero);
        }
        let (Home::Memory, Some(store)) = (found.home, self.memory.as_ref()) else {
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

    /// Takes it off the record: it goes with this process.
    pub fn off_record(mut self) -> Image {
        self.saved = None;
        self
    }

    /// Numbers and sizes of the objects, in order of number.
    pub fn objects(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.objects
            .iter()
            .map(|(&number, object)| (number, object.size))
    }

    /// Size of an object in bytes.
    pub fn object_size(&self, object: u64) -> Option<u64> {
        self.objects.get(&object).map(|object| object.size)
    }

    /// Runs of an object that have space, in order; everything else in it is zero.
    pub(super) fn present(&self, object: u64) -> Vec<Range<u64>> {
        self.objects
            .get(&object)
            .map(Object::all_present)
            .unwrap_or_default()
    }

    /// What the image holds, as a seal states it.
    pub fn totals(&self) -> Totals {
        Totals {
            objects: self.objects.len() as u64,
            bytes: self.bytes,
        }
    }

    /// Bytes of memory and disk the image takes.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.values().map(Object::stored).sum()
    }

    /// The manifest, checked against the objects and `generation`.
    pub fn manifest(&self, generation: u64) -> Result<Manifest, SpoolError> {
        let size = self
            .object_size(MANIFEST_OBJECT)
            .ok_or(SpoolError::NoObject(MANIFEST_OBJECT))?;
        if size > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(size).into());
        }
        let mut bytes = vec![0; size as usize];
        self.read(MANIFEST_OBJECT, 0, &mut bytes)?;
        let manifest = Manifest::parse(&bytes)?;
        manifest.check(generation, self.objects())?;
        Ok(manifest)
    }
}

/// Space that has been taken for a data extent.
#[derive(Debug)]
pub(super) struct Reserved {
    object: u64,
    body: Arc<Body>,
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

impl Drop for Image {
    fn drop(&mut self) {
        for object in self.objects.values() {
            self.shared.quota.give_back(OBJECT_COST + object.stored());
            if object.home == Home::Memory {
                self.shared.memory.give_back(Object::addressed(object.size));
            }
        }
    }
}

fn run(object: u64, size: u64, offset: u64, len: u64) -> Result<Range<u64>, SpoolError> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(offset..end),
        _ => Err(SpoolError::OutOfRange {
            object,
            offset,
            len,
            size,
        }),
    }
}

fn take(quota: &Budget, bytes: u64) -> Result<(), SpoolError> {
    match quota.take(bytes) {
        true => Ok(()),
        false => Err(SpoolError::Quota {
            limit: quota.limit(),
            used: quota.used(),
            bytes,
        }),
    }
}

fn open(
    slot: &mut Option<Store>,
    make: impl FnOnce() -> Result<Store, SpoolError>,
) -> Result<&mut Store, SpoolError> {
    Ok(match slot {
        Some(store) => store,
        None => slot.insert(make()?),
    })
}

/// An object with its store; apart from the rest of the image, which stays borrowable.
fn parts<'a>(
    memory: &'a Option<Store>,
    disk: &'a Option<Store>,
    objects: &'a mut BTreeMap<u64, Object>,
    number: u64,
) -> Result<(&'a Store, &'a mut Object), SpoolError> {
    let object = objects
        .get_mut(&number)
        .ok_or(SpoolError::NoObject(number))?;
    let store = match object.home {
        Home::Memory => memory,
        Home::Disk => disk,
    };
    Ok((store.as_ref().ok_or(SpoolError::NoObject(number))?, object))
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
