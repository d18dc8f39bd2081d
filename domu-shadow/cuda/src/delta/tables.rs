//! Device memory for tables of digests, many to a piece: the driver gives memory in pieces of 2 MiB, which has tables for 512 MiB.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use runtime::delta::device::Result;
use runtime::locks::lock;

use crate::abi::CUdeviceptr;
use crate::beside::home::Home;
use crate::beside::memory::Memory;

/// Tables start at multiples of this.
const ALIGN: usize = 256;

/// What is free of a row of bytes: where, and how many.
#[derive(Debug)]
struct Free {
    all: usize,
    parts: BTreeMap<usize, usize>,
}

impl Free {
    fn of(bytes: usize) -> Free {
        Free {
            all: bytes,
            parts: BTreeMap::from([(0, bytes)]),
        }
    }

    fn take(&mut self, bytes: usize) -> Option<usize> {
        let (&at, &room) = self.parts.iter().find(|(_, room)| **room >= bytes)?;
        self.parts.remove(&at);
        if room > bytes {
            self.parts.insert(at + bytes, room - bytes);
        }
        Some(at)
    }

    fn give_back(&mut self, mut at: usize, mut bytes: usize) {
        if let Some(after) = self.parts.remove(&(at + bytes)) {
            bytes += after;
        }
        if let Some((&before, &room)) = self.parts.range(..at).next_back()
            && before + room == at
        {
            (at, bytes) = (before, room + bytes);
        }
        self.parts.insert(at, bytes);
    }

    fn is_all(&self) -> bool {
        self.parts.get(&0) == Some(&self.all)
    }
}

/// A piece of device memory.
#[derive(Debug)]
struct Piece {
    memory: Memory,
    free: Free,
}

impl Piece {
    fn has(&self, at: CUdeviceptr) -> bool {
        (self.memory.at()..self.memory.at() + self.memory.bytes() as CUdeviceptr).contains(&at)
    }
}

/// One engine's.
#[derive(Debug)]
pub(super) struct Tables {
    home: Home,
    pieces: Mutex<Vec<Piece>>,
    /// Work may be using them for ever.
    are_lost: AtomicBool,
}

impl Tables {
    pub(super) fn new(home: &Home) -> Arc<Tables> {
        Arc::new(Tables {
            home: home.clone(),
            pieces: Mutex::new(Vec::new()),
            are_lost: AtomicBool::new(false),
        })
    }

    /// Work may be using them for ever: their memory is never released.
    pub(super) fn lose(&self) {
        self.are_lost.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_lost(&self) -> bool {
        self.are_lost.load(Ordering::Relaxed)
    }

    /// Memory for a table.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`, the driver's others.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Table> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let mut pieces = lock(&self.pieces);
        let taken = pieces.iter_mut().find_map(|piece| {
            let offset = piece.free.take(bytes)?;
            Some(piece.memory.at() + offset as CUdeviceptr)
        });
        let at = match taken {
            Some(at) => at,
            None => {
                let memory = Memory::new(&self.home, bytes)?;
                let (at, mut free) = (memory.at(), Free::of(memory.bytes()));
                free.take(bytes);
                pieces.push(Piece { memory, free });
                at
            }
        };
        Ok(Table {
            at,
            bytes,
            tables: Arc::clone(self),
        })
    }
}

/// A table. No work may use it when it is dropped.
#[derive(Debug)]
pub(super) struct Table {
    at: CUdeviceptr,
    bytes: usize,
    tables: Arc<Tables>,
}

impl Table {
    pub(super) fn at(&self) -> CUdeviceptr {
        self.at
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut pieces = lock(&self.tables.pieces);
        if self.tables.are_lost() {
            pieces.iter_mut().for_each(|piece| piece.memory.leak());
            return;
        }
        if let Some(piece) = pieces.iter_mut().find(|piece| piece.has(self.at)) {
            let at = (self.at - piece.memory.at()) as usize;
            piece.free.give_back(at, self.bytes);
        }
        pieces.retain(|piece| !piece.free.is_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes and goes, nothing is lent twice, and all of it is one part again at the end.
    #[test]
    fn what_is_given_back_is_whole_again() {
        let (mut free, mut state) = (Free::of(1 << 16), 12345_u32);
        let mut lent: Vec<(usize, usize)> = Vec::new();
        for _ in 0..2000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bytes = 256 * (1 + (state >> 20) as usize % 40);
            if state & 1 << 16 == 0 || lent.is_empty() {
                let Some(at) = free.take(bytes) else { continue };
                let apart =
                    |&(other, size): &(usize, usize)| at + bytes <= other || other + size <= at;
                assert!(at + bytes <= 1 << 16 && lent.iter().all(apart));
                lent.push((at, bytes));
            } else {
                let (at, bytes) = lent.swap_remove(state as usize % lent.len());
                free.give_back(at, bytes);
            }
        }
        assert!(!lent.is_empty() && !free.is_all());
        lent.into_iter()
            .for_each(|(at, bytes)| free.give_back(at, bytes));
        assert!(free.is_all());
    }
}
