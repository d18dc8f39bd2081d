//! What the driver's checkpoint carries, counted.

use std::collections::BTreeMap;

/// Bytes of arrays, modules' variables, shared memory and pinned host memory, by what the program calls them.
#[derive(Debug, Default)]
pub struct Counted {
    pub arrays: Sum,
    pub variables: Sum,
    /// Memory that others may know, or of a host.
    pub shared: Sum,
    /// Pinned host memory.
    pub host: Sum,
    /// Pools that the program has made.
    pub pools: Sum,
}

/// Things of a kind, with their bytes.
#[derive(Debug, Default)]
pub struct Sum {
    bytes: BTreeMap<u64, u64>,
    total: u64,
}

impl Sum {
    pub fn add(&mut self, name: u64, bytes: u64) {
        self.total += bytes;
        self.total -= self.bytes.insert(name, bytes).unwrap_or(0);
    }

    pub fn remove(&mut self, name: u64) {
        self.total -= self.bytes.remove(&name).unwrap_or(0);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn names(&self) -> Vec<u64> {
        self.bytes.keys().copied().collect()
    }
}
