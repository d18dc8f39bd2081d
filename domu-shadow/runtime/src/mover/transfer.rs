//! Reads and writes under way.

use super::error::MoveError;
use super::memory::HostBytes;

/// Commands of a driver under way. Dropping it waits for them.
pub trait Pending: Send {
    /// Whether they have ended, well or not.
    fn is_done(&self) -> bool;

    /// Waits for their end. Once.
    ///
    /// # Errors
    /// The driver's.
    fn wait(&mut self) -> Result<(), MoveError>;
}

/// A read or write under way. It owns the memory until it has ended; dropping it waits for that.
pub struct Transfer<M: HostBytes> {
    // Dropped before the memory.
    pending: Box<dyn Pending>,
    memory: M,
}

impl<M: HostBytes> Transfer<M> {
    /// Has `start` begin with `memory`.
    pub(super) fn start(
        memory: M,
        start: impl FnOnce(&M) -> Result<Box<dyn Pending>, MoveError>,
    ) -> Result<Transfer<M>, MoveError> {
        let pending = start(&memory)?;
        Ok(Transfer { pending, memory })
    }

    /// Whether it has ended, well or not.
    pub fn is_done(&self) -> bool {
        self.pending.is_done()
    }

    /// Waits for the end and gives the memory back.
    ///
    /// # Errors
    /// The driver's.
    pub fn wait(mut self) -> Result<M, MoveError> {
        self.pending.wait()?;
        Ok(self.memory)
    }
}
