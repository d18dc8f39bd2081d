//! The maps of a memory object that were not unmapped yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::geometry::{Extent, Pitched};
use crate::memory::Memory;

/// One map.
#[derive(Clone)]
pub struct Mapping {
    pub address: usize,
    /// `None` if the address lies in the object's memory.
    pub staging: Option<Arc<Memory>>,
    pub flags: u64,
    pub place: Pitched,
    pub host: Pitched,
    pub extent: Extent,
}

/// An object's.
#[derive(Default)]
pub struct Mappings(Mutex<Vec<Mapping>>);

impl Mappings {
    fn all(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, mapping: Mapping) {
        self.all().push(mapping);
    }

    /// Takes out the first map with this address.
    pub fn take(&self, address: usize) -> Option<Mapping> {
        let mut all = self.all();
        let at = all.iter().position(|mapping| mapping.address == address)?;
        Some(all.remove(at))
    }

    /// `CL_MEM_MAP_COUNT`.
    pub fn count(&self) -> u32 {
        self.all().len() as u32
    }
}
