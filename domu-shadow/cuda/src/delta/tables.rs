//! Device memory for tables of digests, many to a piece: the driver gives memory in pieces of 2 MiB, which has tables for 512 MiB.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use runtime::delta::device::Result;
use runtime::locks::lock;

use crate::abi::CUdeviceptr;
use crate::beside::home::Home;
use crate::beside::memory::Memory;

/// Tables start at multiples of this.
const ALIGN: usize = 256;

/// A piece of device memory, and what is free in it: where, and how many bytes.
#[derive(Debug)]
struct Piece {
    memory: Memory,
    free: BTreeMap<usize, usize>,
}

impl Piece {
    fn take(&mut self, bytes: usize) -> Option<CUdeviceptr> {
        let (&at, &room) = self.free.iter().find(|(_, room)| **room >= bytes)?;
        self.free.remove(&at);
        if room > bytes {
            self.free.insert(at + bytes, room - bytes);
        }
        Some(self.memory.at() + at as CUdeviceptr)
    }

    fn give_back(&mut self, mut at: usize, mut bytes: usize) {
        if let Some(after) = self.free.remove(&(at + bytes)) {
            bytes += after;
        }
        if let Some((&before, &room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            (at, bytes) = (before, room + bytes);
        }
        self.free.insert(at, bytes);
    }

    fn is_unused(&self) -> bool {
        self.free.get(&0) == Some(&self.memory.bytes())
    }

    fn has(&self, at: CUdeviceptr) -> bool {
        (self.memory.at()..self.memory.at() + self.memory.bytes() as CUdeviceptr).contains(&at)
    }
}

/// One engine's.
#[derive(Debug)]
pub(super) struct Tables {
    home: Home,
    pieces: Mutex<Vec<Piece>>,
}

impl Tables {
    pub(super) fn new(home: &Home) -> Arc<Tables> {
        Arc::new(Tables {
            home: home.clone(),
            pieces: Mutex::new(Vec::new()),
        })
    }

    /// Memory for a table.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`, the driver's others.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Table> {
        let bytes = bytes.next_multiple_of(ALIGN);
        let mut pieces = lock(&self.pieces);
        let at = match pieces.iter_mut().find_map(|piece| piece.take(bytes)) {
            Some(at) => at,
            None => {
                let memory = Memory::new(&self.home, bytes)?;
                let at = memory.at();
                let mut piece = Piece {
                    free: BTreeMap::from([(0, memory.bytes())]),
                    memory,
                };
                piece.take(bytes);
                pieces.push(piece);
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
        if let Some(piece) = pieces.iter_mut().find(|piece| piece.has(self.at)) {
            let at = (self.at - piece.memory.at()) as usize;
            piece.give_back(at, self.bytes);
        }
        pieces.retain(|piece| !piece.is_unused());
    }
}
