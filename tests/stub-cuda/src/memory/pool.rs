//! Stream-ordered pools.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::ordinary;
use super::space::{self, Kind, Mapping};
use crate::abi::*;
use crate::lock::lock;
use crate::options::MOST_DEVICES;
use crate::table::{self, Table};

const RELEASE_THRESHOLD: u32 = 4;
const RESERVED_NOW: u32 = 5;
const RESERVED_HIGH: u32 = 6;
const USED_NOW: u32 = 7;
const USED_HIGH: u32 = 8;

pub struct Pool {
    pub handle: Handle,
    pub device: usize,
    /// What was set, by attribute.
    attributes: Mutex<BTreeMap<u32, u64>>,
    access: Mutex<[u8; MOST_DEVICES]>,
}

static POOLS: Table<Pool> = Table::new();
static DEFAULTS: Mutex<BTreeMap<usize, Handle>> = Mutex::new(BTreeMap::new());
static CURRENT: Mutex<BTreeMap<usize, Handle>> = Mutex::new(BTreeMap::new());

pub fn create(device: usize) -> Handle {
    let handle = table::new_handle();
    let pool = Pool {
        handle,
        device,
        attributes: Mutex::new(BTreeMap::from([(1, 1), (2, 1), (3, 1)])),
        access: Mutex::new(ordinary::access_of(device)),
    };
    POOLS.insert(handle, Arc::new(pool));
    handle
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn get(pool: Handle) -> Outcome<Arc<Pool>> {
    POOLS.get(pool).ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// The pool that a device has from the start.
pub fn default_of(device: usize) -> Handle {
    *lock(&DEFAULTS)
        .entry(device)
        .or_insert_with(|| create(device))
}

pub fn current_of(device: usize) -> Handle {
    let current = lock(&CURRENT).get(&device).copied();
    current.unwrap_or_else(|| default_of(device))
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn set_current(device: usize, pool: Handle) -> Outcome<()> {
    get(pool)?;
    lock(&CURRENT).insert(device, pool);
    Ok(())
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is none, or a device's own.
pub fn destroy(pool: Handle) -> Outcome<()> {
    if lock(&DEFAULTS).values().any(|default| *default == pool) {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    lock(&CURRENT).retain(|_, current| *current != pool);
    POOLS.remove(pool).map(drop).ok_or(CUDA_ERROR_INVALID_VALUE)
}

impl Pool {
    /// # Errors
    /// As [`ordinary::allocate`].
    pub fn allocate(&self, context: Handle, size: u64) -> Outcome<u64> {
        let address = ordinary::allocate(context, self.device, size, Kind::Pool(self.handle))?;
        if let Some(mapping) = space::find(address) {
            let access = *lock(&self.access);
            space::insert(Mapping { access, ..mapping });
        }
        let used = self.used();
        let mut attributes = lock(&self.attributes);
        for high in [USED_HIGH, RESERVED_HIGH] {
            let before = attributes.entry(high).or_insert(0);
            *before = (*before).max(used);
        }
        Ok(address)
    }

    pub fn access(&self, device: usize) -> u8 {
        lock(&self.access)[device]
    }

    /// What a device may do with all its memory. The pool's own device may always.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn set_access(&self, device: usize, access: u8) -> Outcome<()> {
        if device == self.device && access != space::READ_WRITE {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        lock(&self.access)[device] = access;
        for mut mapping in space::all(|mapping| mapping.kind == Kind::Pool(self.handle)) {
            mapping.access[device] = access;
            space::insert(mapping);
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let mine = space::all(|mapping: &Mapping| mapping.kind == Kind::Pool(self.handle));
        mine.iter().map(|mapping| mapping.size).sum()
    }

    pub fn attribute(&self, attribute: u32) -> u64 {
        match attribute {
            RESERVED_NOW | USED_NOW => self.used(),
            _ => lock(&self.attributes).get(&attribute).copied().unwrap_or(0),
        }
    }

    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for what cannot be set.
    pub fn set_attribute(&self, attribute: u32, value: u64) -> Outcome<()> {
        match attribute {
            1..=3 | RELEASE_THRESHOLD => {}
            RESERVED_HIGH | USED_HIGH if value == 0 => {}
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
        lock(&self.attributes).insert(attribute, value);
        Ok(())
    }
}

/// Whether an attribute is 32 bits wide.
pub fn is_narrow(attribute: u32) -> bool {
    (1..=3).contains(&attribute)
}

/// Memory of pools, freed in any order.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for what is none.
pub fn free(address: u64) -> Outcome<()> {
    ordinary::free(address, |kind| matches!(kind, Kind::Pool(_)))
}
