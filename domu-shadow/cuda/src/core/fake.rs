//! A driver's memory without a device, for tests: strict about addresses, it fails on demand.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::abi::*;
use crate::driver::vm::{Answer, Properties, Value, Vm};

pub const GRANULE: u64 = 2 << 20;
/// Where `cuMemAlloc` begins.
const ORDINARY: u64 = 0x10_0000_0000;
/// Where reservations without a wish begin.
const ANYWHERE: u64 = 0x7000_0000_0000;

/// One mapping: what its memory is, and who reaches which granule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub size: u64,
    pub offset: u64,
    pub memory: u64,
    pub access: Vec<BTreeMap<CUdevice, u32>>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    size: u64,
    handles: u32,
    mappings: u32,
}

#[derive(Debug, Default)]
struct Inner {
    reserved: BTreeMap<u64, u64>,
    allocated: BTreeMap<u64, u64>,
    memories: BTreeMap<u64, Memory>,
    mapped: BTreeMap<u64, Mapped>,
    last: u64,
    entered: u32,
    /// Calls until one fails; then all go well again.
    fails_after: Option<u32>,
}

#[derive(Debug, Default)]
pub struct Fake(RefCell<Inner>);

fn overlaps(ranges: &BTreeMap<u64, u64>, at: u64, size: u64) -> bool {
    ranges
        .iter()
        .any(|(start, len)| *start < at + size && at < start + len)
}

impl Inner {
    fn is_free(&self, at: u64, size: u64) -> bool {
        !overlaps(&self.reserved, at, size) && !overlaps(&self.allocated, at, size)
    }

    fn free_from(&self, mut at: u64, size: u64) -> u64 {
        while !self.is_free(at, size) {
            at += GRANULE;
        }
        at
    }

    fn may_fail(&mut self) -> Answer<()> {
        match &mut self.fails_after {
            Some(0) => {
                self.fails_after = None;
                Err(CUDA_ERROR_UNKNOWN)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn end_unused(&mut self, memory: u64) {
        let is_unused = |memory: &Memory| memory.handles == 0 && memory.mappings == 0;
        if self.memories.get(&memory).is_some_and(is_unused) {
            self.memories.remove(&memory);
        }
    }

    /// Mappings that fill a range together.
    fn filling(&self, at: u64, size: u64) -> Option<Vec<u64>> {
        let inside: Vec<u64> = self
            .mapped
            .range(at..at + size)
            .map(|(at, _)| *at)
            .collect();
        let filled: u64 = inside.iter().map(|at| self.mapped[at].size).sum();
        (filled == size && inside.first() == Some(&at)).then_some(inside)
    }
}

impl Fake {
    pub fn fail_after(&self, calls: Option<u32>) {
        self.0.borrow_mut().fails_after = calls;
    }

    /// All mappings below where reservations without a wish lie.
    pub fn mapped(&self) -> BTreeMap<u64, Mapped> {
        let inner = self.0.borrow();
        let of_program = inner.mapped.range(..ANYWHERE);
        of_program
            .map(|(at, mapped)| (*at, mapped.clone()))
            .collect()
    }

    pub fn mapping(&self, at: u64) -> Option<Mapped> {
        self.0.borrow().mapped.get(&at).cloned()
    }

    pub fn is_mapped(&self, at: u64) -> bool {
        self.mapping(at).is_some()
    }

    pub fn allocated(&self) -> BTreeMap<u64, u64> {
        self.0.borrow().allocated.clone()
    }

    pub fn reserved(&self) -> BTreeMap<u64, u64> {
        self.0.borrow().reserved.clone()
    }

    /// Bytes of memory, and how many contexts are entered.
    pub fn in_use(&self) -> (u64, u32) {
        let inner = self.0.borrow();
        let physical: u64 = inner.memories.values().map(|memory| memory.size).sum();
        let allocated: u64 = inner.allocated.values().sum();
        (physical + allocated, inner.entered)
    }

    /// One more handle of what is mapped at an address.
    pub fn retain(&self, at: u64) -> Answer<u64> {
        let mut inner = self.0.borrow_mut();
        let around = inner.mapped.range(..=at).next_back();
        let memory = around
            .filter(|(start, mapped)| at - **start < mapped.size)
            .map(|(_, mapped)| mapped.memory)
            .ok_or(CUDA_ERROR_INVALID_VALUE)?;
        inner.memories.entry(memory).or_default().handles += 1;
        Ok(memory)
    }
}

impl Vm for Fake {
    fn enter(&self, _: usize) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        inner.entered += 1;
        Ok(())
    }

    fn leave(&self) {
        self.0.borrow_mut().entered -= 1;
    }

    fn synchronize(&self) -> Answer<()> {
        self.0.borrow_mut().may_fail()
    }

    fn alloc(&self, bytes: usize) -> Answer<CUdeviceptr> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let size = (bytes as u64).next_multiple_of(GRANULE);
        let at = inner.free_from(ORDINARY, size);
        inner.allocated.insert(at, size);
        Ok(at)
    }

    fn free(&self, at: CUdeviceptr) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let freed = inner.allocated.remove(&at);
        freed.map(|_| ()).ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    fn reserve(&self, bytes: usize, wanted: CUdeviceptr) -> Answer<CUdeviceptr> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let size = bytes as u64;
        let at = if wanted != 0 && inner.is_free(wanted, size) {
            wanted
        } else {
            inner.free_from(ANYWHERE, size)
        };
        inner.reserved.insert(at, size);
        Ok(at)
    }

    fn unreserve(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let is_empty = inner.mapped.range(at..at + bytes as u64).next().is_none();
        if inner.reserved.get(&at) != Some(&(bytes as u64)) || !is_empty {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        inner.reserved.remove(&at);
        Ok(())
    }

    fn others_reaching(&self, _: CUdevice) -> Option<Vec<CUdevice>> {
        Some(Vec::new())
    }

    fn like_ordinary(&self, device: CUdevice) -> Properties {
        Properties::of_device(device)
    }

    fn create(&self, bytes: usize, _: &Properties, _: u64) -> Answer<u64> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        inner.last += 1;
        let memory = Memory {
            size: bytes as u64,
            handles: 1,
            mappings: 0,
        };
        let handle = inner.last;
        inner.memories.insert(handle, memory);
        Ok(handle)
    }

    fn release(&self, handle: u64) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let memory = inner.memories.get_mut(&handle);
        let memory = memory.filter(|memory| memory.handles > 0);
        memory.ok_or(CUDA_ERROR_INVALID_VALUE)?.handles -= 1;
        inner.end_unused(handle);
        Ok(())
    }

    fn map(&self, at: CUdeviceptr, bytes: usize, offset: usize, handle: u64, _: u64) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let (size, offset) = (bytes as u64, offset as u64);
        let around = inner.reserved.range(..=at).next_back();
        let is_reserved = around.is_some_and(|(start, len)| at + size <= start + len);
        let sizes: BTreeMap<u64, u64> = inner.mapped.iter().map(|(at, m)| (*at, m.size)).collect();
        let memory = inner.memories.get(&handle);
        let fits = memory.is_some_and(|m| m.handles > 0 && offset + size <= m.size);
        if !is_reserved || !fits || size == 0 || overlaps(&sizes, at, size) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let mapped = Mapped {
            size,
            offset,
            memory: handle,
            access: vec![BTreeMap::new(); (size / GRANULE) as usize],
        };
        inner.mapped.insert(at, mapped);
        inner.memories.entry(handle).or_default().mappings += 1;
        Ok(())
    }

    fn unmap(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let filling = inner.filling(at, bytes as u64);
        for at in filling.ok_or(CUDA_ERROR_INVALID_VALUE)? {
            if let Some(mapped) = inner.mapped.remove(&at) {
                inner.memories.entry(mapped.memory).or_default().mappings -= 1;
                inner.end_unused(mapped.memory);
            }
        }
        Ok(())
    }

    fn set_access(&self, at: CUdeviceptr, bytes: usize, access: &[CUmemAccessDesc]) -> Answer<()> {
        let mut inner = self.0.borrow_mut();
        inner.may_fail()?;
        let granules: Vec<u64> = (at..at + bytes as u64).step_by(GRANULE as usize).collect();
        let place = |inner: &Inner, granule: u64| {
            let (start, mapped) = inner.mapped.range(..=granule).next_back()?;
            (granule - start < mapped.size)
                .then(|| (*start, ((granule - start) / GRANULE) as usize))
        };
        let places: Option<Vec<_>> = granules.iter().map(|g| place(&inner, *g)).collect();
        for (start, index) in places.ok_or(CUDA_ERROR_INVALID_VALUE)? {
            let Some(mapped) = inner.mapped.get_mut(&start) else {
                continue;
            };
            for desc in access {
                if desc.flags == CU_MEM_ACCESS_FLAGS_PROT_NONE {
                    mapped.access[index].remove(&desc.location.id);
                } else {
                    mapped.access[index].insert(desc.location.id, desc.flags);
                }
            }
        }
        Ok(())
    }

    fn is_reached(&self, _: usize) -> bool {
        true
    }

    fn set_sync_memops(&self, _: CUdeviceptr, _: bool) -> Answer<()> {
        self.0.borrow_mut().may_fail()
    }

    fn attribute(&self, attribute: u32, at: CUdeviceptr) -> Answer<Value> {
        Ok(Value {
            bytes: (at ^ u64::from(attribute)).to_le_bytes(),
            len: 8,
        })
    }
}
