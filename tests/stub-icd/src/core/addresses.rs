//! Memory that a kernel may be given by its address: unified shared memory, and buffers with a device address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::device::Device;
use crate::lock::lock;
use crate::memory::Memory;

/// One allocation of unified shared memory.
#[derive(Clone)]
pub struct Allocation {
    pub memory: Arc<Memory>,
    pub base: usize,
    pub size: usize,
    /// `CL_MEM_TYPE_*_INTEL`.
    pub kind: u32,
    pub device: Option<Arc<Device>>,
}

/// A buffer with an address.
pub trait Addressed: Send + Sync {
    /// Its memory and its size.
    fn memory(&self) -> (Arc<Memory>, usize);
}

enum Region {
    Allocation(Allocation),
    Buffer(Weak<dyn Addressed>),
}

/// A context's, by address.
#[derive(Default)]
pub struct Addresses(Mutex<BTreeMap<usize, Region>>);

impl Addresses {
    pub fn add(&self, allocation: Allocation) {
        let base = allocation.base;
        lock(&self.0).insert(base, Region::Allocation(allocation));
    }

    pub fn add_buffer(&self, address: usize, buffer: Weak<dyn Addressed>) {
        lock(&self.0).insert(address, Region::Buffer(buffer));
    }

    /// Takes out the allocation that starts there.
    pub fn remove(&self, base: usize) -> Option<Allocation> {
        let mut all = lock(&self.0);
        match all.remove(&base)? {
            Region::Allocation(allocation) => Some(allocation),
            buffer => {
                all.insert(base, buffer);
                None
            }
        }
    }

    /// The allocation that holds an address.
    pub fn allocation(&self, address: usize) -> Option<Allocation> {
        match lock(&self.0).range(..=address).next_back()?.1 {
            Region::Allocation(one) => (address - one.base < one.size).then(|| one.clone()),
            Region::Buffer(_) => None,
        }
    }

    /// Memory at an address: itself, where the address lies in it, and how much follows.
    pub fn find(&self, address: usize) -> Option<(Arc<Memory>, usize, usize)> {
        let all = lock(&self.0);
        let (base, region) = all.range(..=address).next_back()?;
        let (memory, size) = match region {
            Region::Allocation(one) => (one.memory.clone(), one.size),
            Region::Buffer(buffer) => buffer.upgrade()?.memory(),
        };
        let offset = address - base;
        (offset < size).then(|| (memory, offset, size - offset))
    }
}
