//! Where an image's objects stand: in memory or on disk, within the budgets.

use std::collections::BTreeMap;

use super::{Image, OBJECT_COST};
use crate::budget::Budget;
use crate::error::SpoolError;
use crate::object::{Medium, Object};
use crate::store::Store;

/// Most objects of an image: each takes the daemon's own memory, too.
const MAX_OBJECTS: usize = 1 << 20;

impl Image {
    /// Makes sure the object exists with this size; `true` if it did not.
    pub(super) fn find_or_place(&mut self, object: u64, size: u64) -> Result<bool, SpoolError> {
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
        let medium = match in_memory {
            true => Medium::Memory,
            false => Medium::Disk,
        };
        let placed = self.place_in(medium, object, size);
        if placed.is_err() && in_memory {
            self.shared.memory.give_back(Object::addressed(size));
        }
        placed
    }

    /// Gives an object without data a place on disk: memory may be fuller than its budget says. `false` where it has
    /// data, or is there.
    pub(super) fn move_to_disk(&mut self, number: u64) -> Result<bool, SpoolError> {
        let size = match self.objects.get(&number) {
            Some(o) if o.medium == Medium::Memory && o.stored() == 0 => o.size,
            _ => return Ok(false),
        };
        let moved = self.place_in(Medium::Disk, number, size)?;
        if let Some(old) = self.objects.insert(number, moved) {
            let addressed = Object::addressed(old.size);
            self.shared.memory.give_back(addressed);
            if let Some(store) = &mut self.memory {
                store.forget_object(old.base, addressed);
            }
        }
        Ok(true)
    }

    fn place_in(&mut self, medium: Medium, object: u64, size: u64) -> Result<Object, SpoolError> {
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
        let placed = match medium {
            Medium::Memory => open(&mut self.memory, || Store::in_memory(memory_dir)),
            Medium::Disk => open(&mut self.disk, || Store::on_disk(dir, keep_free)),
        };
        placed.and_then(|store| {
            let base = store
                .place_object(addressed)
                .ok_or_else(|| too_large(store.place()))?;
            Ok(Object::new(size, medium, base))
        })
    }

    /// Takes an object away, and gives its space back.
    pub(super) fn drop_object(&mut self, number: u64) -> Result<(), SpoolError> {
        let Some(object) = self.objects.remove(&number) else {
            return Ok(());
        };
        self.bytes -= object.size;
        self.shared.quota.give_back(OBJECT_COST + object.stored());
        let addressed = Object::addressed(object.size);
        let store = match object.medium {
            Medium::Memory => &mut self.memory,
            Medium::Disk => &mut self.disk,
        };
        let Some(store) = store else { return Ok(()) };
        if object.medium == Medium::Memory {
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
}

pub(super) fn take(quota: &Budget, bytes: u64) -> Result<(), SpoolError> {
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
pub(super) fn parts<'a>(
    memory: &'a Option<Store>,
    disk: &'a Option<Store>,
    objects: &'a mut BTreeMap<u64, Object>,
    number: u64,
) -> Result<(&'a Store, &'a mut Object), SpoolError> {
    let object = objects
        .get_mut(&number)
        .ok_or(SpoolError::NoObject(number))?;
    let store = match object.medium {
        Medium::Memory => memory,
        Medium::Disk => disk,
    };
    Ok((store.as_ref().ok_or(SpoolError::NoObject(number))?, object))
}
