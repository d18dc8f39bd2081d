//! One pass: what has changed since it was sent goes out, the guest runs.
//!
//! Each page is copied once into private memory, and the digest kept is that of the copy sent: a page that the guest
//! writes meanwhile counts as what the receiver gets. That it is torn does no harm, it will be found to differ.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::copier::PageCopier;
use super::digests::{Digests, LazyBlock};
use super::error::RamError;
use super::guest::{Guest, Page};
use super::page::BATCH;
use super::page_data::PageRecords;
use super::workers::{share_out, threads};
use crate::stream_fd::StreamFd;
use protocol::ram::RamLimits;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(5);

/// Sends every page whose digest is not the one known; how many bytes went out. `tell` hears the percentage now and then.
pub fn run(
    guest: &Guest,
    digests: &mut Digests,
    limits: &RamLimits,
    stream: &StreamFd,
    tell: &mut dyn FnMut(usize),
) -> Result<u64, RamError> {
    let view = guest.look()?;
    let (key, batches) = (&digests.key, digests.blocks.len());
    let records = Mutex::new(PageRecords::new(*stream)?);
    let done = AtomicUsize::new(0);
    let work = |copier: &mut PageCopier, (number, block): (usize, &mut LazyBlock)| {
        let first = number * BATCH;
        let pages = view.batch(first)?;
        let mut wanted = Vec::new();
        for (index, page) in pages.iter().enumerate() {
            match (page, block.get_mut()) {
                (Page::Plain(frame), _) => wanted.push((index, *frame)),
                (_, Some(known)) => known.forget(index),
                (_, None) => {}
            }
        }
        let mut pfns = Vec::new();
        let copies = copier.copy(guest.domid(), &wanted, |index, page| {
            let digest = key.digest(page);
            if block.get().and_then(|p| p.get(index)) == Some(digest) {
                return false;
            }
            block.get_or_make().set(index, digest);
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
    let blocks = digests.blocks.iter_mut().enumerate();
    share_out(threads(limits.threads), blocks, PageCopier::new, work, look)?;
    Ok(records
        .into_inner()
        .unwrap_or_else(|e| e.into_inner())
        .bytes)
}
