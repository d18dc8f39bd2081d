//! Physical allocations of the program's own (`cuMemCreate`), and where it maps them.
//!
//! The program's handles are tokens of ours; the driver's change with each move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runtime::blocked::Hold;

use super::block::Block;
use super::mapping::{Mapping, Part};
use crate::abi::*;
use crate::driver::vm::{Answer, Properties, Vm, read_write};

/// The upper bits of a token: no pointer of an x86-64 or AArch64 process, and no small number.
const TOKENS: u64 = 0x5847 << 48;

/// Whether a handle can be one of ours.
pub fn is_token(handle: u64) -> bool {
    handle >> 48 == TOKENS >> 48
}

/// One physical allocation.
#[derive(Debug)]
pub struct Physical {
    /// `None`: the driver carries it, because others know it or because it is no device's.
    pub block: Option<Arc<Block>>,
    /// The block that it was before it was left, which may still be in use by us.
    left: Option<Arc<Block>>,
    /// Of imported memory as far as it is mapped.
    pub size: usize,
    pub properties: Properties,
    pub flags: u64,
    /// Of the program's.
    references: usize,
    /// The driver's handle while there is memory.
    pub handle: Option<u64>,
    /// Keeps the process from moving.
    hold: Option<Hold>,
    /// Where the program has mapped it.
    mappings: BTreeSet<CUdeviceptr>,
    /// Where we see it whole, if the program does not.
    pub window: Option<CUdeviceptr>,
}

impl Physical {
    pub fn device(&self) -> CUdevice {
        self.properties.location.id
    }

    /// Whether it is memory of a device.
    pub fn is_devices(&self) -> bool {
        self.properties.is_devices()
    }

    /// Its blocks that we use.
    pub fn pinned(&self) -> impl Iterator<Item = &Arc<Block>> {
        let blocks = [&self.block, &self.left].into_iter().flatten();
        blocks.filter(|block| block.is_pinned())
    }
}

/// All physical allocations and mappings.
#[derive(Debug, Default)]
pub struct VirtualMemory {
    last_token: u64,
    physicals: BTreeMap<u64, Physical>,
    mappings: BTreeMap<CUdeviceptr, Mapping>,
}

impl VirtualMemory {
    /// The token that the next one gets.
    pub fn next_token(&mut self) -> u64 {
        self.last_token += 1;
        TOKENS | self.last_token
    }

    /// The program has one that moves or that the driver carries, with one reference.
    pub fn created(
        &mut self,
        token: u64,
        block: Option<Arc<Block>>,
        size: usize,
        properties: Properties,
        flags: u64,
        handle: u64,
    ) {
        let physical = Physical {
            block,
            size,
            properties,
            flags,
            references: 1,
            handle: Some(handle),
            hold: None,
            left: None,
            mappings: BTreeSet::new(),
            window: None,
        };
        self.physicals.insert(token, physical);
    }

    /// While the program has it the process cannot move.
    pub fn hold(&mut self, token: u64, hold: Hold) {
        if let Some(physical) = self.physicals.get_mut(&token) {
            physical.hold = Some(hold);
        }
    }

    /// Others know it from now on: the driver carries it.
    pub fn leave(&mut self, token: u64) {
        if let Some(physical) = self.physicals.get_mut(&token)
            && let Some(block) = physical.block.take()
        {
            block.set_gone(true);
            physical.left = Some(block);
        }
    }

    /// One that the program holds.
    pub fn held(&self, token: u64) -> Option<&Physical> {
        let physical = self.physicals.get(&token)?;
        (physical.references > 0).then_some(physical)
    }

    pub fn get(&self, token: u64) -> Option<&Physical> {
        self.physicals.get(&token)
    }

    pub fn get_mut(&mut self, token: u64) -> Option<&mut Physical> {
        self.physicals.get_mut(&token)
    }

    /// The driver's handle for one of the program's, which may be the driver's own.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a token of nothing.
    pub fn to_driver(&self, handle: u64) -> Answer<u64> {
        if !is_token(handle) {
            return Ok(handle);
        }
        let held = self.held(handle).and_then(|physical| physical.handle);
        held.ok_or(CUDA_ERROR_INVALID_VALUE)
    }

    pub fn physicals(&self) -> impl Iterator<Item = (u64, &Physical)> {
        self.physicals
            .iter()
            .map(|(token, physical)| (*token, physical))
    }

    pub fn mappings(&self) -> impl Iterator<Item = (CUdeviceptr, &Mapping)> {
        self.mappings.iter().map(|(at, mapping)| (*at, mapping))
    }

    pub fn mapping_mut(&mut self, at: CUdeviceptr) -> Option<&mut Mapping> {
        self.mappings.get_mut(&at)
    }

    /// Where an allocation is mapped.
    pub fn mappings_of(&self, token: u64) -> Vec<CUdeviceptr> {
        let physical = self.physicals.get(&token);
        physical.map_or_else(Vec::new, |physical| {
            physical.mappings.iter().copied().collect()
        })
    }

    /// The mapping that `address` lies in.
    pub fn around(&self, address: CUdeviceptr) -> Option<(CUdeviceptr, &Mapping)> {
        let (at, mapping) = self.mappings.range(..=address).next_back()?;
        (address - at < mapping.size as u64).then_some((*at, mapping))
    }

    /// Mappings that begin in a range or reach into it.
    fn touching(&self, at: CUdeviceptr, size: usize) -> Vec<CUdeviceptr> {
        let end = at.saturating_add(size as u64);
        let first = self.around(at).map(|(start, _)| start).unwrap_or(at);
        let touching = self.mappings.range(first..end.max(first));
        touching.map(|(start, _)| *start).collect()
    }

    /// Blocks that we use, of memory that is mapped in a range.
    pub fn pinned(&self, at: CUdeviceptr, size: usize) -> Vec<Arc<Block>> {
        let touching = self.touching(at, size).into_iter();
        touching
            .filter_map(|at| self.physicals.get(&self.mappings.get(&at)?.token))
            .flat_map(Physical::pinned)
            .cloned()
            .collect()
    }

    /// Whether nothing is left of an allocation when the program drops one more reference.
    pub fn ends_with_release(&self, token: u64) -> bool {
        let is_last =
            |physical: &Physical| physical.references <= 1 && physical.mappings.is_empty();
        self.physicals.get(&token).is_some_and(is_last)
    }

    /// The program drops a reference. Where none and no mapping is left the memory is gone.
    ///
    /// # Errors
    /// The driver's; `CUDA_ERROR_INVALID_VALUE` for a token that has none.
    pub fn release(&mut self, token: u64, driver: &impl Vm) -> Answer<()> {
        let physical = self.physicals.get_mut(&token);
        let physical = physical.filter(|physical| physical.references > 0);
        physical.ok_or(CUDA_ERROR_INVALID_VALUE)?.references -= 1;
        self.end_unused(token, driver)
    }

    /// The program takes another reference to what is mapped at `address`.
    pub fn retain(&mut self, address: CUdeviceptr) -> Option<u64> {
        let token = self.around(address)?.1.token;
        self.physicals.get_mut(&token)?.references += 1;
        Some(token)
    }

    fn end_unused(&mut self, token: u64, driver: &impl Vm) -> Answer<()> {
        let is_unused =
            |physical: &Physical| physical.references == 0 && physical.mappings.is_empty();
        if !self.physicals.get(&token).is_some_and(is_unused) {
            return Ok(());
        }
        self.drop_window(token, driver)?;
        let Some(physical) = self.physicals.remove(&token) else {
            return Ok(());
        };
        if let Some(block) = &physical.block {
            block.set_gone(true);
        }
        physical
            .handle
            .map_or(Ok(()), |handle| driver.release(handle))
    }

    /// The program maps memory of ours.
    ///
    /// # Errors
    /// The driver's.
    pub fn map(
        &mut self,
        at: CUdeviceptr,
        size: usize,
        offset: usize,
        token: u64,
        flags: u64,
        driver: &impl Vm,
    ) -> Answer<()> {
        let handle = self.to_driver(token)?;
        driver.map(at, size, offset, handle, flags)?;
        let mapping = Mapping {
            token,
            size,
            offset,
            flags,
            is_mapped: true,
            has_access: true,
            parts: vec![Part {
                offset: 0,
                size,
                access: Vec::new(),
            }],
            identity: None,
            sync_memops: false,
        };
        self.mappings.insert(at, mapping);
        if let Some(physical) = self.physicals.get_mut(&token) {
            physical.mappings.insert(at);
            if physical.block.is_none() {
                physical.size = physical.size.max(offset + size);
            }
        }
        Ok(())
    }

    /// The program unmaps a range, perhaps of several mappings.
    ///
    /// # Errors
    /// The driver's.
    pub fn unmap(&mut self, at: CUdeviceptr, size: usize, driver: &impl Vm) -> Answer<()> {
        driver.unmap(at, size)?;
        for start in self.touching(at, size) {
            let Some(mapping) = self.mappings.remove(&start) else {
                continue;
            };
            if let Some(physical) = self.physicals.get_mut(&mapping.token) {
                physical.mappings.remove(&start);
            }
            self.end_unused(mapping.token, driver)?;
        }
        Ok(())
    }

    /// The program changes access.
    ///
    /// # Errors
    /// The driver's.
    pub fn set_access(
        &mut self,
        at: CUdeviceptr,
        size: usize,
        access: &[CUmemAccessDesc],
        driver: &impl Vm,
    ) -> Answer<()> {
        driver.set_access(at, size, access)?;
        for start in self.touching(at, size) {
            if let Some(mapping) = self.mappings.get_mut(&start) {
                let from = at.saturating_sub(start) as usize;
                let to = (at + size as u64 - start).min(mapping.size as u64) as usize;
                mapping.set_access(from, to, access);
            }
        }
        Ok(())
    }

    /// Where the device reads and writes a whole allocation now, if the program has mapped it so.
    pub fn seen_whole(&self, token: u64) -> Option<CUdeviceptr> {
        let physical = self.physicals.get(&token)?;
        let is_whole = |mapping: &Mapping| {
            mapping.has_access
                && mapping.offset == 0
                && mapping.size == physical.size
                && mapping.is_writable_by(physical.device())
        };
        let mut at = physical.mappings.iter().copied();
        at.find(|at| self.mappings.get(at).is_some_and(is_whole))
    }

    /// Maps a whole allocation for ourselves, with its context current.
    ///
    /// # Errors
    /// The driver's; `CUDA_ERROR_INVALID_VALUE` while its memory is away.
    pub fn open_window(&mut self, token: u64, driver: &impl Vm) -> Answer<CUdeviceptr> {
        let physical = self.physicals.get_mut(&token);
        let physical = physical.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if let Some(at) = physical.window {
            return Ok(at);
        }
        let handle = physical.handle.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let at = driver.reserve(physical.size, 0)?;
        let access = [read_write(physical.device())];
        let mapped = driver.map(at, physical.size, 0, handle, 0);
        let opened = mapped.and_then(|()| {
            let set = driver.set_access(at, physical.size, &access);
            set.inspect_err(|_| {
                let _ = driver.unmap(at, physical.size);
            })
        });
        if let Err(code) = opened {
            let _ = driver.unreserve(at, physical.size);
            return Err(code);
        }
        physical.window = Some(at);
        Ok(at)
    }

    /// Takes our own mapping away, if there is one.
    ///
    /// # Errors
    /// The driver's.
    pub fn drop_window(&mut self, token: u64, driver: &impl Vm) -> Answer<()> {
        let Some(physical) = self.physicals.get_mut(&token) else {
            return Ok(());
        };
        let Some(at) = physical.window else {
            return Ok(());
        };
        driver.unmap(at, physical.size)?;
        physical.window = None;
        driver.unreserve(at, physical.size)
    }
}
