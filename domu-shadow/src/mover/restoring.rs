//! Contents coming back, before the program goes on.

use super::Detached;
use super::MoveError;
use super::capture::Capture;
use super::engine::{Transfer, root_buffers};
use super::memory::HostBytes;
use super::quiesced::boot_time;
use crate::gate::Closed;

/// How long the program's OpenCL calls waited, `CLOCK_BOOTTIME` ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blackout {
    pub from: u64,
    pub to: u64,
}

/// All objects exist again; the buffers' contents are undefined until written.
pub struct Restoring {
    closed: Closed,
    capture: Capture,
    since: u64,
}

impl Restoring {
    pub(super) fn new(closed: Closed, capture: Capture, since: u64) -> Restoring {
        capture.engine().know(&root_buffers());
        Restoring {
            closed,
            capture,
            since,
        }
    }

    /// The buffers to write: id and size in bytes.
    pub fn objects(&self) -> Vec<(u64, u64)> {
        use crate::core::handle::Object;
        root_buffers()
            .iter()
            .map(|mem| (mem.slot().id(), mem.size as u64))
            .collect()
    }

    /// Starts to write `from.len()` bytes into a buffer at `offset`. Several may be under way.
    ///
    /// # Errors
    /// `Gone` for an unknown buffer, `OutOfRange`, the driver's.
    pub fn start_write<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        from: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.capture.engine().write(object, offset, from)
    }

    /// Writes and waits: [`Restoring::start_write`] and [`Transfer::wait`].
    ///
    /// # Errors
    /// As `start_write`.
    pub fn write<M: HostBytes>(&self, object: u64, offset: u64, from: M) -> Result<M, MoveError> {
        self.start_write(object, offset, from)?.wait()
    }

    /// Gives the attempt up: everything is released and unloaded again, and it can be tried later.
    pub fn unload(self) -> Detached {
        let Restoring {
            closed,
            capture,
            since,
        } = self;
        super::detached::unload(closed, capture, since)
    }

    /// All contents are written: waits for the transfers and opens the gate.
    pub fn finish(self) -> Blackout {
        let Restoring {
            closed,
            capture,
            since,
        } = self;
        capture.engine().close();
        drop(closed);
        Blackout {
            from: since,
            to: boot_time(),
        }
    }
}
