//! Memory of `cuMemAlloc` and its kin: mapped from the start, so that in a move only the memory goes and the addresses stay.
//!
//! ```text
//!   Reserved ──create──▶ Created ──map──▶ Bare ──access──▶ Mapped
//!       ▲                   │                                │
//!       └──────release──────┴──────────────unmap─────────────┘
//! ```
//!
//! Memory that `cuMemAlloc` itself gives cannot go like that: freed, its addresses are anybody's. On an H200 (580.159) one piece of twenty
//! did not come back, as another thread's mmap(2) or the driver itself had taken them. Mapping takes no longer there.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::blocked::Hold;
use runtime::residency::Resident;

use super::block::{Block, Place};
use super::context::Context;
use super::queries::Identity;
use crate::abi::{CUdeviceptr, CUipcMemHandle};

/// What the driver backs an allocation of its own with, and what mapped memory is made of.
pub const GRANULE: u64 = 2 << 20;

/// The driver gives these addresses in a granule of others.
const SHARING: usize = 1 << 20;

/// Whether an allocation of so many bytes has granules of its own. Others are left to the driver.
pub fn has_own_granules(bytes: usize) -> bool {
    bytes > SHARING && bytes <= isize::MAX as usize
}

/// How far an allocation of ours is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// The address is ours, without memory.
    Reserved,
    /// The address is ours, and this is its memory, not mapped yet.
    Created(u64),
    /// The address is ours, and this is its memory, which nobody has access to yet.
    Bare(u64),
    /// The address is ours, and this is its memory.
    Mapped(u64),
}

/// Mapped memory of ours.
#[derive(Debug)]
pub struct Ordinary {
    pub block: Arc<Block>,
    pub backing: Backing,
    /// Before its first move.
    pub identity: Option<Identity>,
    /// Others may have it: the driver's checkpoint carries it, mapped as it is.
    pub is_shared: bool,
    pub sync_memops: bool,
}

/// How the program got memory of another process.
#[derive(Debug)]
pub struct Opened {
    pub handle: CUipcMemHandle,
    /// How often it has to close it.
    pub times: usize,
    /// The process stays where it is meanwhile.
    pub _hold: Hold,
}

/// One allocation.
#[derive(Debug)]
pub enum Kind {
    Moving(Ordinary),
    /// Another process's memory, mapped here: it keeps this one from moving.
    Opened(Ordinary, Opened),
    /// The driver's own memory, which its checkpoint carries.
    Left,
    /// Nobody can carry it.
    Managed {
        _hold: Hold,
    },
}

#[derive(Debug)]
pub struct Allocation {
    /// Bytes, as the program asked.
    pub asked: usize,
    pub context: Arc<Context>,
    pub kind: Kind,
}

/// Bytes of address space.
pub fn span(asked: usize) -> usize {
    (asked as u64).next_multiple_of(GRANULE) as usize
}

impl Allocation {
    /// Addresses of ours at `at`, which have no memory yet.
    pub fn reserved(at: CUdeviceptr, asked: usize, context: Arc<Context>) -> Allocation {
        let kind = Kind::Moving(Ordinary {
            block: Arc::new(Block::new(Place::Ordinary(at), asked, Arc::clone(&context))),
            backing: Backing::Reserved,
            identity: None,
            is_shared: false,
            sync_memops: false,
        });
        Allocation {
            asked,
            context,
            kind,
        }
    }

    /// Memory that the driver has made itself.
    pub fn left(asked: usize, context: Arc<Context>) -> Allocation {
        Allocation {
            asked,
            context,
            kind: Kind::Left,
        }
    }

    pub fn managed(asked: usize, context: Arc<Context>, hold: Hold) -> Allocation {
        Allocation {
            asked,
            context,
            kind: Kind::Managed { _hold: hold },
        }
    }

    /// What is known of mapped memory of ours; of the driver's own there is nothing.
    pub fn ordinary(&self) -> Option<&Ordinary> {
        match &self.kind {
            Kind::Moving(ordinary) | Kind::Opened(ordinary, _) => Some(ordinary),
            _ => None,
        }
    }

    pub fn ordinary_mut(&mut self) -> Option<&mut Ordinary> {
        match &mut self.kind {
            Kind::Moving(ordinary) | Kind::Opened(ordinary, _) => Some(ordinary),
            _ => None,
        }
    }

    pub fn opened(&self) -> Option<&Opened> {
        match &self.kind {
            Kind::Opened(_, opened) => Some(opened),
            _ => None,
        }
    }

    pub fn opened_mut(&mut self) -> Option<&mut Opened> {
        match &mut self.kind {
            Kind::Opened(_, opened) => Some(opened),
            _ => None,
        }
    }

    /// It was made of another process's memory.
    pub fn open(mut self, opened: Opened) -> Allocation {
        if let Kind::Moving(mut ordinary) = self.kind {
            ordinary.is_shared = true;
            ordinary.block.set_gone(true);
            self.kind = Kind::Opened(ordinary, opened);
        }
        self
    }

    /// Its block, if we use it.
    pub fn pinned(&self) -> Option<Arc<Block>> {
        let block = &self.ordinary()?.block;
        block.is_pinned().then(|| Arc::clone(block))
    }

    /// Bytes of address space.
    pub fn span(&self) -> usize {
        span(self.asked)
    }

    /// Bytes that the driver carries.
    fn bytes_left(&self) -> u64 {
        match &self.kind {
            Kind::Left => self.asked as u64,
            Kind::Moving(ordinary) if ordinary.is_shared => self.asked as u64,
            _ => 0,
        }
    }

    fn end_block(&self) {
        if let Some(ordinary) = self.ordinary() {
            ordinary.block.set_gone(true);
        }
    }
}

/// All, by address.
#[derive(Debug, Default)]
pub struct Allocations {
    by_address: BTreeMap<CUdeviceptr, Allocation>,
    /// Bytes of those that are left to the driver.
    left: u64,
}

impl Allocations {
    /// What the driver gives now is true: what was known at that address has ended without our notice.
    pub fn insert(&mut self, at: CUdeviceptr, allocation: Allocation) {
        self.left += allocation.bytes_left();
        if let Some(old) = self.by_address.insert(at, allocation) {
            self.forget(&old);
        }
    }

    fn forget(&mut self, old: &Allocation) {
        old.end_block();
        self.left -= old.bytes_left();
    }

    /// Takes out the one that begins at `at`; its block has ended.
    pub fn remove(&mut self, at: CUdeviceptr) -> Option<Allocation> {
        let allocation = self.by_address.remove(&at)?;
        self.forget(&allocation);
        Some(allocation)
    }

    /// Puts one back that was removed: it lives on. Its old block may have been missed meanwhile, so it is another one now, unless its
    /// contents are on their way to the old one.
    pub fn put_back(&mut self, at: CUdeviceptr, mut allocation: Allocation) {
        let (asked, context) = (allocation.asked, Arc::clone(&allocation.context));
        if let Some(ordinary) = allocation.ordinary_mut().filter(|it| !it.is_shared) {
            if ordinary.block.residency().is_absent() {
                ordinary.block.set_gone(false);
            } else {
                ordinary.block = Arc::new(Block::new(Place::Ordinary(at), asked, context));
            }
        }
        self.insert(at, allocation);
    }

    /// Others have it from now on: the driver carries it.
    pub fn share(&mut self, at: CUdeviceptr) {
        let allocation = self.by_address.get_mut(&at);
        if let Some(allocation) = allocation
            && let Some(ordinary) = allocation.ordinary_mut()
            && !ordinary.is_shared
        {
            ordinary.is_shared = true;
            allocation.end_block();
            self.left += allocation.asked as u64;
        }
    }

    pub fn get(&self, at: CUdeviceptr) -> Option<&Allocation> {
        self.by_address.get(&at)
    }

    pub fn get_mut(&mut self, at: CUdeviceptr) -> Option<&mut Allocation> {
        self.by_address.get_mut(&at)
    }

    /// The one that `address` lies in, with where it begins.
    pub fn around(&self, address: CUdeviceptr) -> Option<(CUdeviceptr, &Allocation)> {
        let (at, allocation) = self.by_address.range(..=address).next_back()?;
        let is_inside = address - at < allocation.asked.max(1) as u64;
        is_inside.then_some((*at, allocation))
    }

    /// The one that `address` lies in, if it is mapped memory of ours.
    pub fn ordinary_around(
        &self,
        address: CUdeviceptr,
    ) -> Option<(CUdeviceptr, &Allocation, &Ordinary)> {
        let (at, allocation) = self.around(address)?;
        Some((at, allocation, allocation.ordinary()?))
    }

    /// The one that begins at `at`, if it is another process's memory.
    pub fn opened(&self, at: CUdeviceptr) -> Option<&Allocation> {
        self.get(at).filter(|it| it.opened().is_some())
    }

    pub fn iter(&self) -> impl Iterator<Item = (CUdeviceptr, &Allocation)> {
        self.by_address
            .iter()
            .map(|(at, allocation)| (*at, allocation))
    }

    /// Where those of a context begin.
    pub fn of_context(&self, context: &Arc<Context>) -> Vec<CUdeviceptr> {
        let of_it = self
            .iter()
            .filter(|(_, a)| Arc::ptr_eq(&a.context, context));
        of_it.map(|(at, _)| at).collect()
    }

    pub fn left(&self) -> u64 {
        self.left
    }
}
