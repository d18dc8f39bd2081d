//! Memory of `cuMemAlloc` and its kin.
//!
//! ```text
//!   Plain ──free, reserve──▶ Reserved ──create, map──▶ Mapped
//!     ▲          │               ▲                       │
//!     └─allocate─┴──▶ Lost ──────┴────────unmap──────────┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::blocked::Hold;
use runtime::residency::Resident;

use super::block::{Block, Place};
use super::context::Context;
use super::queries::Record;
use crate::abi::CUdeviceptr;

/// What the driver backs an allocation of its own with, and what mapped memory is made of.
pub const GRANULE: u64 = 2 << 20;

/// Smaller allocations share a granule with others.
const LEAST: usize = 1 << 20;

/// The steps of an allocation from the driver's memory to mapped memory of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// As `cuMemAlloc` gave it.
    Plain,
    /// As `cuMemAlloc` gave it; the driver did not let us have the address.
    Kept,
    /// The address is ours, without memory.
    Reserved,
    /// The address is ours, and this is its memory, not mapped yet.
    Created(u64),
    /// The address is ours, and this is its memory, which nobody has access to yet.
    Bare(u64),
    /// The address is ours, and this is its memory.
    Mapped(u64),
    /// Freed, and its address not ours.
    Lost,
}

/// What is known of a block's allocation.
#[derive(Debug)]
pub struct Ordinary {
    pub block: Arc<Block>,
    pub backing: Backing,
    /// What the driver said of it while it was plain.
    pub record: Option<Box<Record>>,
    pub sync_memops: bool,
}

impl Ordinary {
    /// Whether it is ours: the driver does not know it as an allocation any more.
    pub fn is_converted(&self) -> bool {
        !matches!(self.backing, Backing::Plain | Backing::Kept)
    }
}

/// One allocation.
#[derive(Debug)]
pub enum Kind {
    Moving(Ordinary),
    /// The driver carries it; with the block that it was, which may still be in use by us.
    Left(Option<Arc<Block>>),
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

impl Allocation {
    /// Memory of `cuMemAlloc` at `at`.
    pub fn new(at: CUdeviceptr, asked: usize, context: Arc<Context>) -> Allocation {
        let kind = if at.is_multiple_of(GRANULE) && asked >= LEAST {
            Kind::Moving(Ordinary {
                block: Arc::new(Block::new(Place::Ordinary(at), asked, Arc::clone(&context))),
                backing: Backing::Plain,
                record: None,
                sync_memops: false,
            })
        } else {
            Kind::Left(None)
        };
        Allocation {
            asked,
            context,
            kind,
        }
    }

    pub fn managed(asked: usize, context: Arc<Context>, hold: Hold) -> Allocation {
        Allocation {
            asked,
            context,
            kind: Kind::Managed { _hold: hold },
        }
    }

    pub fn ordinary(&self) -> Option<&Ordinary> {
        match &self.kind {
            Kind::Moving(ordinary) => Some(ordinary),
            _ => None,
        }
    }

    pub fn ordinary_mut(&mut self) -> Option<&mut Ordinary> {
        match &mut self.kind {
            Kind::Moving(ordinary) => Some(ordinary),
            _ => None,
        }
    }

    fn block(&self) -> Option<&Arc<Block>> {
        match &self.kind {
            Kind::Moving(ordinary) => Some(&ordinary.block),
            Kind::Left(block) => block.as_ref(),
            Kind::Managed { .. } => None,
        }
    }

    /// Whether we use it.
    pub fn is_pinned(&self) -> bool {
        self.block().is_some_and(|block| block.is_pinned())
    }

    /// Bytes of address space.
    pub fn span(&self) -> usize {
        (self.asked as u64).next_multiple_of(GRANULE) as usize
    }

    /// Bytes that the driver carries.
    fn left(&self) -> u64 {
        match &self.kind {
            Kind::Left(_) => self.asked as u64,
            Kind::Moving(ordinary) if ordinary.backing == Backing::Kept => self.asked as u64,
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
        self.left += allocation.left();
        if let Some(old) = self.by_address.insert(at, allocation) {
            self.forget(&old);
        }
    }

    fn forget(&mut self, old: &Allocation) {
        old.end_block();
        self.left -= old.left();
    }

    /// Memory has gone or come: the driver may carry more or less of it.
    pub fn count_left(&mut self) {
        self.left = self.by_address.values().map(Allocation::left).sum();
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
        if let Some(ordinary) = allocation.ordinary_mut() {
            if ordinary.block.residency().is_absent() {
                ordinary.block.set_gone(false);
            } else {
                ordinary.block = Arc::new(Block::new(Place::Ordinary(at), asked, context));
            }
        }
        self.insert(at, allocation);
    }

    /// The driver carries it from now on.
    pub fn leave(&mut self, at: CUdeviceptr) {
        let Some(allocation) = self.by_address.get_mut(&at) else {
            return;
        };
        if allocation.ordinary().is_some_and(|o| !o.is_converted()) {
            self.left -= allocation.left();
            allocation.end_block();
            allocation.kind = Kind::Left(allocation.block().cloned());
            self.left += allocation.left();
        }
    }

    /// Whether another one begins in the granules of the one at `at`.
    pub fn has_neighbour(&self, at: CUdeviceptr) -> bool {
        let span = self
            .get(at)
            .map_or(0, |allocation| allocation.span() as u64);
        let mut others = self.by_address.range(at + 1..at + span.max(1));
        others.next().is_some()
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

    /// The one that `address` lies in, if it is mapped memory of ours by now.
    pub fn converted_around(
        &self,
        address: CUdeviceptr,
    ) -> Option<(CUdeviceptr, &Allocation, &Ordinary)> {
        let (at, allocation) = self.around(address)?;
        let ordinary = allocation.ordinary()?;
        ordinary
            .is_converted()
            .then_some((at, allocation, ordinary))
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
