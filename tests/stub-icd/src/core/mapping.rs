//! The maps of a memory object that were not unmapped yet.

use std::sync::{Arc, Mutex};

use super::geometry::{Extent, Pitched};
use crate::lock::lock;
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
    pub fn add(&self, mapping: Mapping) {
        lock(&self.0).push(mapping);
    }

    /// Takes out the first map with this address.
    pub fn take(&self, address: usize) -> Option<Mapping> {
        let mut all = lock(&self.0);
        let at = all.iter().position(|mapping| mapping.address == address)?;
        Some(all.remove(at))
    }

    /// `CL_MEM_MAP_COUNT`.
    pub fn count(&self) -> u32 {
        lock(&self.0).len() as u32
    }
}
