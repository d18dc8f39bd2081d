//! After the devices are away and Xen records every write: which pages the receiver has already.
//!
//! libxc's first round sends what is set in its bitmap, and all of it is set. The bit of a page goes only if a private copy, made
//! while Xen records writes, has the digest of what was sent.

use std::sync::Mutex;
use std::time::Instant;

use super::bitmap;
use super::copier::PageCopier;
use super::digests::{Digests, LazyBlock};
use super::error::RamError;
use super::guest::{Guest, Page};
use super::page::BATCH;
use super::workers::{share_out, threads};
use crate::stream_fd::StreamFd;
use protocol::ram::{RamLimits, RamScan};

/// Clears bits in libxc's bitmap, which is about to send `dirty_count` pages.
///
/// # Errors
/// Where the bitmap is not what it should be, nothing was cleared; where the guest cannot be read, some may have been,
/// rightly.
pub fn run(
    guest: &Guest,
    digests: &Digests,
    limits: &RamLimits,
    dirty_count: i64,
    stream: &StreamFd,
) -> Result<RamScan, RamError> {
    let begun = Instant::now();
    let pfns = guest.pfns();
    if dirty_count != pfns as i64 {
        return Err(RamError::FirstRound { dirty_count, pfns });
    }
    let threads = threads(limits.threads);
    let mut scan = RamScan {
        pages: 0,
        unchanged: 0,
        seconds: 0.0,
        threads,
    };
    let counted = Mutex::new(&mut scan);
    bitmap::edit(pfns, |bits| {
        let view = guest.look()?;
        let key = &digests.key;
        let items = digests
            .blocks
            .iter()
            .enumerate()
            .zip(bits.chunks_mut(BATCH / 8));
        let work = |copier: &mut PageCopier,
                    ((number, block), bits): ((usize, &LazyBlock), &mut [u8])| {
            let pages = view.batch(number * BATCH)?;
            let known = |index| block.get().and_then(|known| known.get(index));
            let mut wanted = Vec::new();
            for (index, page) in pages.iter().enumerate() {
                match page {
                    Page::Plain(frame) if known(index).is_some() => wanted.push((index, *frame)),
                    Page::Hole if guest.holes_need_no_record() && known(index).is_none() => {
                        clear(bits, index);
                    }
                    _ => {}
                }
            }
            let (mut compared, mut unchanged) = (0, 0);
            copier.copy(guest.domid(), &wanted, |index, page| {
                compared += 1;
                if known(index) == Some(key.digest(page)) {
                    unchanged += 1;
                    clear(bits, index);
                }
                false
            })?;
            let mut scan = counted.lock().unwrap_or_else(|e| e.into_inner());
            scan.pages += compared;
            scan.unchanged += unchanged;
            Ok(())
        };
        let look = || match stream.cancelled() {
            true => Err(RamError::Cancelled),
            false => Ok(()),
        };
        share_out(threads, items, PageCopier::new, work, look)
    })?;
    scan.seconds = begun.elapsed().as_secs_f64();
    Ok(scan)
}

fn clear(bits: &mut [u8], index: usize) {
    bits[index / 8] &= !(1 << (index % 8));
}
