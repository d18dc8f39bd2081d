//! Capturing while the program runs.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

use channel::guest::{StepError, Whole};
use channel::memory::SharedPages;

use super::announced::blocked;
use super::composite::Composite;
use super::contents::Contents;
use super::error::MoveError;
use super::headroom::Headroom;
use super::round::{Program, Round};
use crate::vendor::foreign;

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Only one move at a time.
struct Alone(());

impl Alone {
    fn take() -> Result<Alone, MoveError> {
        if ACTIVE.swap(true, Ordering::AcqRel) {
            return Err(MoveError::Busy);
        }
        Ok(Alone(()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        ACTIVE.store(false, Ordering::Release);
    }
}

/// A capture under way. Dropping it ends it; the program notices nothing.
pub struct Capture {
    contents: Contents,
    /// Released last.
    _alone: Alone,
}

/// Starts a capture of whole buffers.
///
/// # Errors
/// `Blocked`, or `Busy` while another one lives.
pub fn begin() -> Result<Capture, MoveError> {
    foreign::look_again();
    if let Some(reason) = blocked() {
        return Err(MoveError::Blocked(reason));
    }
    // Looked at now, so that nothing is sent in vain, and taken when the gate closes.
    drop(Headroom::take()?);
    let _alone = Alone::take()?;
    let contents = Contents {
        parts: Composite::begin()?,
        program: Program::Runs,
    };
    Ok(Capture { contents, _alone })
}

impl Deref for Capture {
    type Target = Contents;
    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl DerefMut for Capture {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.contents
    }
}

impl Capture {
    /// Has the driver pin `pages`, for transfers into them at the bus's rate, in every context with buffers. Where one
    /// refuses, transfers are slower.
    pub fn pin(&mut self, pages: SharedPages) {
        self.parts.all_mut().for_each(|part| part.pin(Some(&pages)));
    }

    /// From the next round on buffers are compared on the device where that can be done, and only what changed in
    /// them is sent: [`Contents::send_changed`]. To be called before each round; builds what is missing.
    pub fn compare(&mut self) {
        self.parts.all_mut().for_each(|part| part.compare());
    }

    /// Fetches what the stop and the way back will need of programs, one after the other while `go_on` says so: the stop
    /// then asks for what was built since. To be called before each round, and before the stop.
    pub fn prepare(&mut self, go_on: impl Fn() -> bool) {
        self.parts.all_mut().for_each(|part| part.prepare(&go_on));
    }

    /// The first time: every buffer. Later: those written since, and those whose writers had not ended.
    pub fn round(&mut self) -> Round {
        self.contents.list()
    }

    /// What was sent so far counts as lost: the next round lists everything again.
    pub fn start_over(&mut self) {
        self.parts.all_mut().for_each(|part| part.start_over());
    }

    /// Bytes that the next round would send now, as far as comparing tells, else would list. `alive` is called now and
    /// then.
    ///
    /// # Errors
    /// `Sink` with what `alive` said.
    pub fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, MoveError> {
        let parts = self.parts.all_mut();
        parts.map(|part| part.dirty_bytes(alive)).sum()
    }

    /// Bytes of objects that are not compared, and why buffers among them are not: the worst reason.
    pub fn whole(&self) -> (u64, Whole) {
        let parts: Vec<_> = self.parts.all().map(|part| part.whole()).collect();
        let why = parts.iter().map(|(_, why)| *why);
        let why = why.max_by_key(|&why| u64::from(why)).unwrap_or_default();
        (parts.iter().map(|(bytes, _)| bytes).sum(), why)
    }

    /// The link is gone: no page of it stays pinned.
    pub(super) fn close(&mut self) {
        self.parts.all_mut().for_each(|part| part.pin(None));
    }
}
