//! One mapping of physical memory, and who has access to which part of it.

use super::queries::Identity;
use crate::abi::*;
use crate::driver::vm::read_write;

/// Access of a part of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub offset: usize,
    pub size: usize,
    /// At most one a location, without those that have none.
    pub access: Vec<CUmemAccessDesc>,
}

impl Part {
    fn set(&mut self, change: &CUmemAccessDesc) {
        self.access
            .retain(|access| access.location != change.location);
        if change.flags != CU_MEM_ACCESS_FLAGS_PROT_NONE {
            self.access.push(*change);
        }
    }
}

/// One mapping of the program's.
#[derive(Debug)]
pub struct Mapping {
    pub token: u64,
    pub size: usize,
    pub offset: usize,
    pub flags: u64,
    /// False while the memory is away.
    pub is_mapped: bool,
    /// False while nobody has the access that `parts` say.
    pub has_access: bool,
    /// In order, without gaps.
    pub parts: Vec<Part>,
    /// What the driver called it before it went away first.
    pub identity: Option<Identity>,
    pub sync_memops: bool,
}

impl Mapping {
    /// Makes `at`, an offset into the mapping, a boundary between parts.
    fn split(&mut self, at: usize) {
        let inside = |part: &Part| part.offset < at && at < part.offset + part.size;
        if let Some(index) = self.parts.iter().position(inside) {
            let part = &mut self.parts[index];
            let rest = Part {
                offset: at,
                size: part.offset + part.size - at,
                access: part.access.clone(),
            };
            part.size = at - part.offset;
            self.parts.insert(index + 1, rest);
        }
    }

    /// Parts whose access is the same are one: fewer calls on the way back.
    fn join(&mut self) {
        self.parts.dedup_by(|next, part| {
            let is_same = next.access == part.access;
            if is_same {
                part.size += next.size;
            }
            is_same
        });
    }

    pub fn set_access(&mut self, from: usize, to: usize, changes: &[CUmemAccessDesc]) {
        self.split(from);
        self.split(to);
        let touched = self.parts.iter_mut();
        let touched = touched.filter(|part| from <= part.offset && part.offset < to);
        touched.for_each(|part| changes.iter().for_each(|change| part.set(change)));
        self.join();
    }

    /// Whether a device reads and writes all of it.
    pub fn is_writable_by(&self, device: CUdevice) -> bool {
        let wanted = read_write(device);
        self.parts.iter().all(|part| part.access.contains(&wanted))
    }
}
