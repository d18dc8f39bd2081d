//! RAM pre-copy while a PCI device is still assigned.
//!
//! Xen tracks a guest's writes only once its devices are gone, and libxc sends no page before. So that the GPU is not away for
//! the whole copy, the plugin sends the memory itself, as the PAGE_DATA records that libxc would write, and keeps a digest
//! of each page as it was sent:
//!
//! ```text
//!  xc_shadow_control(ENABLE):  passes (pass): pages whose digest is not the one sent     guest and GPU run
//!                              GPU rounds in between; then stop, unload, detach
//!                              the original: from here on Xen records every write
//!  first precopy_policy:       scan (scan): clears the bits of pages with the digest     guest runs, GPU away
//!                              sent in libxc's bitmap, all ones before its first round
//!  libxc's rounds:             what is left of the first one, then what Xen recorded
//! ```
//!
//! Exact because a page whose bit is cleared had, at some moment after tracking began, the bytes the receiver has; a write
//! after that moment is recorded by Xen. What the passes believe costs at most bytes.
//!
//! The receiver is stock libxc's. Whatever is not as expected (calls or a bitmap that are not found, a guest whose memory
//! cannot be mapped) leaves the bitmap as it is: libxc's first round then sends everything.

mod bitmap;
mod calls;
mod convergence;
mod copier;
mod digests;
mod error;
mod guest;
mod page;
mod page_data;
mod pass;
mod scan;
mod workers;

pub use bitmap::BufferHook;

use std::time::Instant;

use super::messages::say;
use super::stream_fd::StreamFd;
use convergence::Convergence;
use digests::Digests;
use error::RamError;
use guest::Guest;
use protocol::ram::{RamFigures, RamLimits, RamPass};

/// The RAM's part of a save.
#[derive(Debug)]
pub struct Ram {
    domid: u32,
    /// libxc's handle, which the helper opened for several threads.
    xch: usize,
    limits: Option<RamLimits>,
    convergence: Convergence,
    sent: Option<Sent>,
    scanned: bool,
    figures: RamFigures,
    detached: Option<u64>,
}

/// What the receiver has.
#[derive(Debug)]
struct Sent {
    guest: Guest,
    digests: Digests,
}

impl Ram {
    /// For domain `domid`; nothing but a few figures without limits.
    pub fn new(domid: u32, xch: usize, limits: Option<RamLimits>) -> Self {
        Self {
            domid,
            xch,
            limits,
            convergence: Convergence::new(
                limits.map_or(0, |p| p.passes),
                limits.map_or(0, |p| p.enough),
            ),
            sent: None,
            scanned: false,
            figures: RamFigures::default(),
            detached: None,
        }
    }

    /// Whether a pass should come before the next round of the GPU.
    pub fn wants_pass(&self) -> bool {
        self.convergence.wants_pass()
    }

    /// Whether the pass that is wanted is the first.
    pub fn is_first_pass(&self) -> bool {
        self.figures.passes.is_empty()
    }

    /// The GPU has had a round; true when the stop may come.
    pub fn gpu_round(&mut self, finished: bool) -> bool {
        self.convergence.gpu_round(finished)
    }

    /// Sends what has changed, at first all. The stream stands at a record boundary before and, without an error, after it.
    ///
    /// # Errors
    /// When the stream is of no more use. Where the guest's memory cannot be read, there are no more passes and no scan.
    pub fn pass(&mut self, stream: &StreamFd) -> Result<Option<&RamFigures>, RamError> {
        let Some(limits) = self.limits else {
            return Ok(None);
        };
        match self.try_pass(&limits, stream) {
            Ok(pass) => {
                say!(
                    Progress,
                    "domain {}: RAM pass {}: {} MiB sent in {:.1} s",
                    self.domid,
                    self.figures.passes.len(),
                    pass.bytes >> 20,
                    pass.seconds
                );
                self.convergence.passed(pass.bytes);
                self.figures.passes.push(pass);
                Ok(Some(&self.figures))
            }
            Err(e) if e.is_of_the_stream() => Err(e),
            Err(e) => {
                self.give_up(&e);
                Ok(Some(&self.figures))
            }
        }
    }

    fn try_pass(&mut self, limits: &RamLimits, stream: &StreamFd) -> Result<RamPass, RamError> {
        let begun = Instant::now();
        let sent = match &mut self.sent {
            Some(sent) => sent,
            None => {
                let guest = Guest::open(self.xch, self.domid)?;
                let digests = Digests::new(guest.pfns())?;
                self.sent.insert(Sent { guest, digests })
            }
        };
        let domid = self.domid;
        let number = self.figures.passes.len() + 1;
        let bytes = pass::run(
            &sent.guest,
            &mut sent.digests,
            limits,
            stream,
            &mut |percent| {
                say!(Progress, "domain {domid}: RAM pass {number}: {percent}%");
            },
        )?;
        self.figures.digest_bytes = sent.digests.bytes();
        Ok(RamPass {
            bytes,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// The devices are away: what is written from now on is written without them.
    pub fn detached(&mut self) {
        self.detached = written();
    }

    /// Takes the unchanged pages out of libxc's first round, which is to send `dirty_count` pages. Once, when Xen records
    /// every write.
    pub fn scan(&mut self, dirty_count: i64, stream: &StreamFd) -> Option<&RamFigures> {
        let limits = self.limits?;
        if std::mem::replace(&mut self.scanned, true) {
            return None;
        }
        let sent = self.sent.take()?;
        match scan::run(&sent.guest, &sent.digests, &limits, dirty_count, stream) {
            Ok(scan) => {
                say!(
                    Progress,
                    "domain {}: {} of {} RAM pages unchanged, found in {:.2} s by {} threads",
                    self.domid,
                    scan.unchanged,
                    scan.pages,
                    scan.seconds,
                    scan.threads
                );
                self.figures.scan = Some(scan);
            }
            Err(e) => self.give_up(&e),
        }
        Some(&self.figures)
    }

    fn give_up(&mut self, reason: &RamError) {
        say!(
            Warning,
            "domain {}: RAM pre-copy is given up, all memory goes out once the devices are detached: {reason}",
            self.domid
        );
        self.limits = None;
        self.sent = None;
        self.convergence = Convergence::new(0, 0);
        self.figures.given_up = Some(reason.to_string());
    }

    /// All of it, at the end of the save.
    pub fn figures(&mut self) -> Option<RamFigures> {
        let since = self.detached?;
        self.figures.bytes_after_detach = written().and_then(|now| now.checked_sub(since));
        Some(self.figures.clone())
    }
}

/// Bytes this process has written so far: the helper writes little but the stream. `None` where the kernel does not count.
fn written() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("wchar: "))?
        .parse()
        .ok()
}
