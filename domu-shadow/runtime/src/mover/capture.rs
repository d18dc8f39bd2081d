//! Capturing while the program runs.

use std::sync::atomic::{AtomicBool, Ordering};

use channel::guest::Whole;
use channel::memory::SharedPages;

use super::announced::blocked;
use super::composite::Composite;
use super::error::MoveError;
use super::memory::{HostBytes, OwnedBytes};
use super::round::{Program, Round, Sent};
use super::transfer::Transfer;
use super::way_back::WayBack;
use crate::delta::sink::{Sink, SinkError};
use crate::gpu_api::ApiCapture;
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
    parts: Composite,
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
    drop(WayBack::take()?);
    let _alone = Alone::take()?;
    Ok(Capture {
        parts: Composite::begin()?,
        _alone,
    })
}

impl Capture {
    pub(super) fn parts(&mut self) -> &mut Composite {
        &mut self.parts
    }

    /// Has the driver pin `pages`, for transfers into them at the bus's rate, in every context with buffers. Where one
    /// refuses, transfers are slower.
    pub fn pin(&mut self, pages: SharedPages) {
        self.parts.all_mut().for_each(|part| part.pin(&pages));
    }

    /// From the next round on buffers are compared on the device where that can be done, and only what changed in
    /// them is sent: [`Capture::send_changed`]. To be called before each round; builds what is missing.
    pub fn compare(&mut self) {
        self.parts.all_mut().for_each(ApiCapture::compare);
    }

    /// Fetches what the stop and the way back will need of programs, one after the other while `go_on` says so: the stop
    /// then asks for what was built since. To be called before each round, and before the stop.
    pub fn prepare(&mut self, go_on: impl Fn() -> bool) {
        self.parts.all_mut().for_each(|part| part.prepare(&go_on));
    }

    /// The first time: every buffer. Later: those written since, and those whose writers had not ended.
    pub fn round(&mut self) -> Round {
        self.list(Program::Runs)
    }

    /// Of a program that waits, what is left when nothing runs any more.
    pub(super) fn list(&mut self, program: Program) -> Round {
        let mut round = Round::default();
        let parts = self.parts.all_mut();
        parts.for_each(|part| part.round(program, &mut round));
        round
    }

    /// Sends what changed in the buffers that `round` says are compared.
    ///
    /// # Errors
    /// `Sink` with what the sink said. Then, as after any failure to send a round, what was sent is not known:
    /// [`Capture::start_over`].
    pub fn send_changed(&mut self, round: &Round, sink: &mut dyn Sink) -> Result<Sent, MoveError> {
        self.send(round, Program::Runs, sink)
    }

    pub(super) fn send(
        &mut self,
        round: &Round,
        program: Program,
        sink: &mut dyn Sink,
    ) -> Result<Sent, MoveError> {
        let mut sent = Sent::default();
        let mut parts = self.parts.all_mut();
        parts.try_for_each(|part| part.send_changed(round, program, sink, &mut sent))?;
        Ok(sent)
    }

    /// What was sent so far counts as lost: the next round lists everything again.
    pub fn start_over(&mut self) {
        self.parts.all_mut().for_each(ApiCapture::start_over);
    }

    /// Bytes that the next round would send now, as far as comparing tells, else would list. `alive` is called now and
    /// then.
    ///
    /// # Errors
    /// `Sink` with what `alive` said.
    pub fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), SinkError>,
    ) -> Result<u64, MoveError> {
        let parts = self.parts.all_mut();
        parts.map(|part| part.dirty_bytes(alive)).sum()
    }

    /// Bytes of objects that are not compared, and why buffers among them are not: the worst reason.
    pub fn whole(&self) -> (u64, Whole) {
        let parts: Vec<_> = self.parts.all().map(ApiCapture::whole).collect();
        let why = parts.iter().map(|(_, why)| *why);
        let why = why.max_by_key(|&why| u64::from(why)).unwrap_or_default();
        (parts.iter().map(|(bytes, _)| bytes).sum(), why)
    }

    /// Every object whose contents move: id and size in bytes.
    pub(super) fn objects(&self) -> Vec<(u64, u64)> {
        self.parts.all().flat_map(ApiCapture::objects).collect()
    }

    /// Starts to read `to.len()` bytes of a buffer of the last round, at `offset`. Several may be under way.
    ///
    /// # Errors
    /// `Gone` if the program released the buffer, `OutOfRange`, the driver's.
    pub fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError> {
        let part = self.parts.of(object)?;
        // SAFETY: a transfer drops what is pending before its memory.
        Transfer::start(to, |to| unsafe { part.start_read(object, offset, to) })
    }

    /// Reads and waits: [`Capture::start_read`] and [`Transfer::wait`].
    ///
    /// # Errors
    /// As `start_read`.
    pub fn read<M: HostBytes>(&self, object: u64, offset: u64, to: M) -> Result<M, MoveError> {
        self.start_read(object, offset, to)?.wait()
    }

    /// Starts to write `from.len()` bytes of an object, at `offset`.
    pub(super) fn start_write<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        from: M,
    ) -> Result<Transfer<M>, MoveError> {
        let part = self.parts.of(object)?;
        // SAFETY: a transfer drops what is pending before its memory.
        Transfer::start(from, |from| unsafe {
            part.start_write(object, offset, from)
        })
    }

    /// Starts to write zeros.
    pub(super) fn start_zero(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> Result<Transfer<OwnedBytes>, MoveError> {
        let part = self.parts.of(object)?;
        Transfer::start(OwnedBytes::zeroed(0), |_| {
            part.start_zero(object, offset, len)
        })
    }

    /// The link is gone: no page of it stays pinned.
    pub(super) fn close(&mut self) {
        self.parts.all_mut().for_each(ApiCapture::close);
    }
}
