//! A single-producer single-consumer ring of fixed 64-byte entries.
//!
//! Free-running 32-bit indices, as in Xen's `io/ring.h`. Each side keeps its own index private and
//! only publishes it; the peer's index is loaded once and must lie within the ring and not behind what
//! it was before, else the peer is corrupt: an error to close the session on, never a value to clamp.
//!
//! Pure safe logic over [`RingMem`], so that the same code runs over shared pages, a flat test double
//! and loom's atomics.

#![forbid(unsafe_code)]

/// Entries in a ring: one page of them.
pub const ENTRIES: u32 = 64;
/// Bytes in an entry.
pub const ENTRY_SIZE: usize = 64;

/// One raw message.
pub type Entry = [u8; ENTRY_SIZE];

/// Where a ring's indices and entries live.
pub trait RingMem {
    /// Loads the producer's published index (acquire: entries before it are visible).
    fn load_producer(&self) -> u32;
    /// Publishes the producer's index (release).
    fn store_producer(&self, index: u32);
    /// Loads the consumer's published index (acquire: its reads of freed entries are over).
    fn load_consumer(&self) -> u32;
    /// Publishes the consumer's index (release).
    fn store_consumer(&self, index: u32);
    /// Copies the entry in `slot` (`< ENTRIES`) out.
    fn read(&self, slot: u32) -> Entry;
    /// Copies an entry into `slot` (`< ENTRIES`).
    fn write(&self, slot: u32, entry: &Entry);
}

/// The peer published an index that no sequence of pushes and pops gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("peer's ring index {theirs:#x} is impossible while ours is {ours:#x}")]
pub struct Corrupt {
    /// The index this side keeps.
    pub ours: u32,
    /// What the peer published.
    pub theirs: u32,
}

/// The writing end.
#[derive(Debug, Default)]
pub struct Producer {
    index: u32,
    /// The consumer's index when it was last looked at.
    peer: u32,
}

impl Producer {
    /// A producer of an empty ring whose indices stand at `index`.
    #[cfg(test)]
    pub(crate) fn starting_at(index: u32) -> Self {
        Producer { index, peer: index }
    }

    /// Appends one entry; `Ok(false)` where the ring is full.
    pub fn push(&mut self, mem: &impl RingMem, entry: &Entry) -> Result<bool, Corrupt> {
        let theirs = mem.load_consumer();
        let used = self.index.wrapping_sub(theirs);
        // At most ENTRIES at the last look, and the consumer only takes.
        if used > self.index.wrapping_sub(self.peer) {
            return Err(Corrupt {
                ours: self.index,
                theirs,
            });
        }
        self.peer = theirs;
        if used == ENTRIES {
            return Ok(false);
        }
        mem.write(self.index % ENTRIES, entry);
        self.index = self.index.wrapping_add(1);
        mem.store_producer(self.index);
        Ok(true)
    }
}

/// The reading end.
#[derive(Debug, Default)]
pub struct Consumer {
    index: u32,
    /// The producer's index when it was last looked at.
    peer: u32,
}

impl Consumer {
    /// A consumer of an empty ring whose indices stand at `index`.
    #[cfg(test)]
    pub(crate) fn starting_at(index: u32) -> Self {
        Consumer { index, peer: index }
    }

    /// Takes the oldest entry, copied to private memory; `Ok(None)` where the ring is empty.
    pub fn pop(&mut self, mem: &impl RingMem) -> Result<Option<Entry>, Corrupt> {
        let theirs = mem.load_producer();
        let waiting = theirs.wrapping_sub(self.index);
        // What was there at the last look and has not been taken is still there.
        if waiting > ENTRIES || waiting < self.peer.wrapping_sub(self.index) {
            return Err(Corrupt {
                ours: self.index,
                theirs,
            });
        }
        self.peer = theirs;
        if waiting == 0 {
            return Ok(None);
        }
        let entry = mem.read(self.index % ENTRIES);
        self.index = self.index.wrapping_add(1);
        mem.store_consumer(self.index);
        Ok(Some(entry))
    }
}

#[cfg(all(test, not(loom)))]
#[path = "ring/tests.rs"]
mod tests;
