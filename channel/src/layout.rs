//! What lies where in the shared pages.
//!
//! ```text
//! page 0 .. d-1        directory: header, indices, references of pages 1 .. n-1
//! page d               ring guest -> dom0 (64 entries of 64 bytes)
//! page d+1             ring dom0 -> guest
//! page d+2 ..          slots, each `slot_pages` pages: payload, then the extent table
//! ```
//!
//! Header, all little endian: 0 magic "XLGPUCH1", 8 version, 12 pages, 16 directory pages, 20 slots,
//! 24 pages per slot, and one cache line each for the four ring indices from 64. References follow
//! from byte 512 of page 0 and fill the further directory pages.

#![forbid(unsafe_code)]

use crate::PAGE_SIZE;
use crate::image::EXTENT_BYTES;
use crate::memory::{SharedBytes, SharedRegion};
use crate::ring::{ENTRY_SIZE, Entry, RingMem};
use std::sync::atomic::Ordering;

const MAGIC: &[u8; 8] = b"XLGPUCH1";
const VERSION: u32 = 1;
const VERSION_AT: usize = 8;
const PAGES_AT: usize = 12;
const DIRECTORY_PAGES_AT: usize = 16;
const SLOTS_AT: usize = 20;
const SLOT_PAGES_AT: usize = 24;
const G2D_PRODUCER_AT: usize = 64;
const G2D_CONSUMER_AT: usize = 128;
const D2G_PRODUCER_AT: usize = 192;
const D2G_CONSUMER_AT: usize = 256;
const REFERENCES_AT: usize = 512;
const REFERENCES_IN_FIRST: usize = (PAGE_SIZE - REFERENCES_AT) / 4;
const REFERENCES_IN_OTHER: usize = PAGE_SIZE / 4;

/// Most slots of a channel: each may stand for a message on either ring, beside commands and answers.
pub const MAX_SLOTS: usize = 48;
/// Most pages of a slot: 4 MiB of payload (the longest data extent) and a table of 1024 extents.
pub const MAX_SLOT_PAGES: usize = 4 * MIB_SLOT_PAGES;
/// Pages of a slot with 1 MiB of payload and a table of 256 extents.
const MIB_SLOT_PAGES: usize = 259;
/// So many slots of 1 MiB keep a bus busy without a pause: with more memory, slots get larger instead.
const ENOUGH_SLOTS: usize = 24;
/// Fewest pages a channel works with: directory, two rings, one slot of one payload and one table page.
pub const MIN_PAGES: usize = 5;
/// Most pages of a channel (128 MiB): twice the 64 frames of Xen's default grant table.
pub const MAX_PAGES: usize = 32768;

/// The directory does not describe a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not a channel's first page.
    #[error("the shared directory does not start with the channel's magic: found {0:02x?}")]
    Magic([u8; 8]),
    /// A version this build does not speak.
    #[error("channel layout version {0}, this build knows {VERSION}")]
    Version(u32),
    /// A field that fits no channel of this many pages.
    #[error("channel layout: {field} is {value}, which does not fit {pages} shared pages")]
    Field {
        field: &'static str,
        value: u32,
        pages: usize,
    },
}

/// A validated layout: every offset it gives lies in the region it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pages: usize,
    directory_pages: usize,
    slots: usize,
    slot_pages: usize,
}

fn directory_pages(pages: usize) -> usize {
    1 + (pages - 1)
        .saturating_sub(REFERENCES_IN_FIRST)
        .div_ceil(REFERENCES_IN_OTHER)
}

/// Pages of a slot's table: scattered 4 KiB chunks, an extent each, can fill the payload.
fn table_pages(slot_pages: usize) -> usize {
    (3 * slot_pages).div_ceil(MIB_SLOT_PAGES)
}

impl Layout {
    /// The layout for `pages` pages (from [`MIN_PAGES`] to [`MAX_PAGES`]).
    pub fn for_pages(pages: usize) -> Layout {
        assert!(
            (MIN_PAGES..=MAX_PAGES).contains(&pages),
            "a channel of {pages} pages"
        );
        let directory_pages = directory_pages(pages);
        let room = pages - directory_pages - 2;
        // Slots of about 256 KiB, so that several transfers are in flight. With room for many, larger ones: a bus does
        // best with transfers of 1 MiB and more.
        let slots = (room / 65)
            .clamp(4.min(room / 2), 16)
            .max((room / MIB_SLOT_PAGES).min(ENOUGH_SLOTS))
            .max(room / MAX_SLOT_PAGES)
            .clamp(1, MAX_SLOTS);
        Layout {
            pages,
            directory_pages,
            slots,
            slot_pages: (room / slots).min(MAX_SLOT_PAGES),
        }
    }

    /// Lays out fresh pages: everything zero, then the directory. Guest only, before publishing.
    pub fn format(memory: &SharedRegion, references: &[u32]) -> Layout {
        let layout = Layout::for_pages(memory.len() / PAGE_SIZE);
        assert_eq!(references.len(), layout.pages, "one reference a page");
        for page in 0..layout.directory_pages + 2 {
            slice(memory, page * PAGE_SIZE, PAGE_SIZE).write(&[0; PAGE_SIZE]);
        }
        for (i, reference) in references.iter().enumerate().skip(1) {
            memory.store(reference_at(i), *reference, Ordering::Relaxed);
        }
        memory.store(PAGES_AT, layout.pages as u32, Ordering::Relaxed);
        memory.store(
            DIRECTORY_PAGES_AT,
            layout.directory_pages as u32,
            Ordering::Relaxed,
        );
        memory.store(SLOTS_AT, layout.slots as u32, Ordering::Relaxed);
        memory.store(SLOT_PAGES_AT, layout.slot_pages as u32, Ordering::Relaxed);
        memory.store(VERSION_AT, VERSION, Ordering::Relaxed);
        slice(memory, 0, MAGIC.len()).write(MAGIC);
        layout
    }

    /// Reads and validates a peer's directory. Each word is loaded once; `memory` may be page 0 alone
    /// (then `pages` says how many the peer claims to share) or the whole region.
    pub fn read(memory: &SharedRegion, pages: usize) -> Result<Layout, LayoutError> {
        let mut magic = [0; 8];
        slice(memory, 0, 8).read(&mut magic);
        if &magic != MAGIC {
            return Err(LayoutError::Magic(magic));
        }
        let version = memory.load(VERSION_AT, Ordering::Relaxed);
        if version != VERSION {
            return Err(LayoutError::Version(version));
        }
        let field = |field, at, good: &dyn Fn(usize) -> bool| {
            let value = memory.load(at, Ordering::Relaxed);
            if good(value as usize) {
                Ok(value as usize)
            } else {
                Err(LayoutError::Field {
                    field,
                    value,
                    pages,
                })
            }
        };
        field("pages", PAGES_AT, &|v| {
            v == pages && (MIN_PAGES..=MAX_PAGES).contains(&v)
        })?;
        let directory_pages = field("directory pages", DIRECTORY_PAGES_AT, &|v| {
            v == directory_pages(pages)
        })?;
        let room = pages - directory_pages - 2;
        let slots = field("slots", SLOTS_AT, &|v| (1..=MAX_SLOTS).contains(&v))?;
        let slot_pages = field("pages per slot", SLOT_PAGES_AT, &|v| {
            (2..=MAX_SLOT_PAGES).contains(&v) && v.checked_mul(slots).is_some_and(|n| n <= room)
        })?;
        Ok(Layout {
            pages,
            directory_pages,
            slots,
            slot_pages,
        })
    }

    /// The peer's grant references of pages `1 ..`, as far as `memory` (a prefix of the pages) holds them.
    /// Page 0's own is what the rendezvous told.
    pub fn references(&self, memory: &SharedRegion) -> Vec<u32> {
        (1..self.pages)
            .take_while(|i| reference_at(*i) + 4 <= memory.len())
            .map(|i| memory.load(reference_at(i), Ordering::Relaxed))
            .collect()
    }

    /// Pages in all.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Pages that hold the directory.
    pub fn directory_pages(&self) -> usize {
        self.directory_pages
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Payload bytes of one slot.
    pub fn payload_size(&self) -> usize {
        (self.slot_pages - table_pages(self.slot_pages)) * PAGE_SIZE
    }

    /// Extents that a slot's table has room for: at least one for each page of payload.
    pub fn table_extents(&self) -> usize {
        table_pages(self.slot_pages) * PAGE_SIZE / EXTENT_BYTES
    }

    fn slot_at(&self, slot: usize) -> usize {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        (self.directory_pages + 2 + slot * self.slot_pages) * PAGE_SIZE
    }

    /// The payload area of a slot (`< slots()`).
    pub fn payload<'a>(&self, memory: &'a SharedRegion, slot: usize) -> SharedBytes<'a> {
        slice(memory, self.slot_at(slot), self.payload_size())
    }

    /// The extent table of a slot (`< slots()`).
    pub fn table<'a>(&self, memory: &'a SharedRegion, slot: usize) -> SharedBytes<'a> {
        let bytes = table_pages(self.slot_pages) * PAGE_SIZE;
        slice(memory, self.slot_at(slot) + self.payload_size(), bytes)
    }

    /// The ring the guest writes.
    pub fn guest_to_dom0<'a>(&self, memory: &'a SharedRegion) -> SharedRing<'a> {
        SharedRing {
            memory,
            producer: G2D_PRODUCER_AT,
            consumer: G2D_CONSUMER_AT,
            entries: self.directory_pages * PAGE_SIZE,
        }
    }

    /// The ring dom0 writes.
    pub fn dom0_to_guest<'a>(&self, memory: &'a SharedRegion) -> SharedRing<'a> {
        SharedRing {
            memory,
            producer: D2G_PRODUCER_AT,
            consumer: D2G_CONSUMER_AT,
            entries: (self.directory_pages + 1) * PAGE_SIZE,
        }
    }
}

fn reference_at(page: usize) -> usize {
    REFERENCES_AT + (page - 1) * 4
}

fn slice(memory: &SharedRegion, offset: usize, len: usize) -> SharedBytes<'_> {
    memory.slice(offset, len).unwrap_or_else(|| {
        panic!(
            "{len} bytes at {offset} of a region of {} bytes",
            memory.len()
        )
    })
}

/// A ring in the shared pages.
pub struct SharedRing<'a> {
    memory: &'a SharedRegion,
    producer: usize,
    consumer: usize,
    entries: usize,
}

impl SharedRing<'_> {
    fn entry(&self, slot: u32) -> SharedBytes<'_> {
        slice(
            self.memory,
            self.entries + slot as usize * ENTRY_SIZE,
            ENTRY_SIZE,
        )
    }
}

impl RingMem for SharedRing<'_> {
    fn load_producer(&self) -> u32 {
        self.memory.load(self.producer, Ordering::Acquire)
    }

    fn store_producer(&self, index: u32) {
        self.memory.store(self.producer, index, Ordering::Release);
    }

    fn load_consumer(&self) -> u32 {
        self.memory.load(self.consumer, Ordering::Acquire)
    }

    fn store_consumer(&self, index: u32) {
        self.memory.store(self.consumer, index, Ordering::Release);
    }

    fn read(&self, slot: u32) -> Entry {
        let mut entry = [0; ENTRY_SIZE];
        self.entry(slot).read(&mut entry);
        entry
    }

    fn write(&self, slot: u32, entry: &Entry) {
        self.entry(slot).write(entry);
    }
}

#[cfg(test)]
mod tests;
