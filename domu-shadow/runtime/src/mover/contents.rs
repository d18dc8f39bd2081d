//! The contents of all objects, while the program runs and while it waits.

use super::composite::Composite;
use super::error::MoveError;
use super::memory::{HostBytes, OwnedBytes};
use super::round::{Program, Round, Sent};
use super::transfer::Transfer;
use crate::delta::sink::Sink;

/// What a move reads, sends and writes.
pub struct Contents {
    pub(super) parts: Composite,
    pub(super) program: Program,
}

impl Contents {
    /// What has to be sent now.
    pub(super) fn list(&mut self) -> Round {
        let mut round = Round::default();
        let parts = self.parts.all_mut();
        parts.for_each(|part| part.round(self.program, &mut round));
        round
    }

    /// Sends what changed in the buffers that `round` says are compared; at full speed where the program waits.
    ///
    /// # Errors
    /// `Sink` with what the sink said. Then, as after any failure to send a round, what was sent is not known:
    /// [`super::Capture::start_over`].
    pub fn send_changed(&mut self, round: &Round, sink: &mut dyn Sink) -> Result<Sent, MoveError> {
        let mut sent = Sent::default();
        let mut parts = self.parts.all_mut();
        parts.try_for_each(|part| part.send_changed(round, self.program, sink, &mut sent))?;
        Ok(sent)
    }

    /// Every object whose contents move: id and size in bytes.
    pub fn objects(&self) -> Vec<(u64, u64)> {
        self.parts.all().flat_map(|part| part.objects()).collect()
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

    /// Reads and waits: [`Contents::start_read`] and [`Transfer::wait`].
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
}
