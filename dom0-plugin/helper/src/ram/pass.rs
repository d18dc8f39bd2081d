//! One pass: what has changed since it was sent goes out, the guest runs.
//!
//! Each page is copied once into private memory, and the digest kept is that of the copy sent: a page that the guest
//! writes meanwhile counts as what the receiver gets. That it is torn does no harm, it will be found to differ.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use xen_bindings::ForeignMemory;

use super::error::RamError;
use super::guest::Page;
use super::record::Records;
use super::workers::{share_out, threads};
use super::{BATCH, PAGE, Sent};
use crate::stream_fd::StreamFd;
use protocol::ram::Plan;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);

/// What a thread works with: 4 MiB of memory.
pub struct Tool {
    memory: ForeignMemory,
    pages: Vec<u8>,
}

impl Tool {
    pub fn new() -> Result<Self, RamError> {
        Ok(Self {
            memory: ForeignMemory::open()?,
            pages: vec![0; BATCH * PAGE],
        })
    }

    /// Copies the wanted ones of a batch's pages, and calls `each` with their index, the copy and how many copies were
    /// kept before it; it says whether this one is to be kept. The copies kept, one after the other.
    pub fn copy(
        &mut self,
        domid: u32,
        wanted: &[(usize, u64)],
        mut each: impl FnMut(usize, &[u8; PAGE]) -> bool,
    ) -> Result<&[u8], RamError> {
        let frames: Vec<u64> = wanted.iter().map(|(_, frame)| *frame).collect();
        let mut kept = 0;
        if !frames.is_empty() {
            let map = self.memory.map(domid, &frames)?;
            for (place, (index, _)) in wanted.iter().enumerate() {
                let page: &mut [u8; PAGE] = (&mut self.pages[kept * PAGE..][..PAGE])
                    .try_into()
                    .expect("a page");
                if map.read(place, page) && each(*index, page) {
                    kept += 1;
                }
            }
        }
        Ok(&self.pages[..kept * PAGE])
    }
}

/// Sends every page whose digest is not the one known; how many bytes went out. `tell` hears the percentage now and then.
pub fn run(
    sent: &mut Sent,
    plan: &Plan,
    stream: &StreamFd,
    tell: &mut dyn FnMut(usize),
) -> Result<u64, RamError> {
    let Sent { guest, digests } = sent;
    let view = guest.look()?;
    let (key, batches) = (&digests.key, digests.places.len());
    let records = Mutex::new(Records::new(stream));
    let done = AtomicUsize::new(0);
    let work = |tool: &mut Tool, (number, place): (usize, &mut super::digests::Place)| {
        let first = number * BATCH;
        let pages = view.batch(first)?;
        let mut wanted = Vec::new();
        for (index, page) in pages.iter().enumerate() {
            match (page, place.piece_mut()) {
                (Page::Plain(frame), _) => wanted.push((index, *frame)),
                (_, Some(piece)) => piece.forget(index),
                (_, None) => {}
            }
        }
        let mut pfns = Vec::new();
        let copies = tool.copy(guest.domid(), &wanted, |index, page| {
            let digest = key.digest(page);
            if place.piece().and_then(|p| p.get(index)) == Some(digest) {
                return false;
            }
            place.made().set(index, digest);
            pfns.push((first + index) as u64);
            true
        })?;
        let mut records = records.lock().unwrap_or_else(|e| e.into_inner());
        records.write(&pfns, copies)?;
        done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let mut told = Instant::now();
    let look = || {
        if stream.cancelled() {
            return Err(RamError::Cancelled);
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(100 * done.load(Ordering::Relaxed) / batches.max(1));
        }
        Ok(())
    };
    let places = digests.places.iter_mut().enumerate();
    share_out(threads(plan.threads), places, Tool::new, work, look)?;
    Ok(records
        .into_inner()
        .unwrap_or_else(|e| e.into_inner())
        .bytes)
}
