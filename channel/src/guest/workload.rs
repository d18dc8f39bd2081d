//! What a program's GPU state has to offer a session.

use super::batch_sender::BatchSender;
use super::fetcher::Fetcher;
use super::interrupt::Interrupt;
use super::keep_alive::KeepAlive;
use crate::BoxError;
use crate::answers::{Begun, Fetched, Opened, RoundDone, Stopped, Unloaded};
use crate::bus::Bus;
use crate::link::{LeftToDriver, Others};
use crate::message::ToGuest;
use std::time::Duration;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The workload could not do it; dom0's operator is told why.
    #[error(transparent)]
    Failed(BoxError),
    /// The command is of another state.
    #[error("{command:?} does not fit a session that is {state}")]
    Misplaced {
        /// What dom0 said.
        command: ToGuest,
        /// What the session is.
        state: &'static str,
    },
    /// The link ended or dom0 called the step off.
    #[error(transparent)]
    Interrupted(#[from] Interrupt),
}

impl StepError {
    /// As [`StepError::Failed`].
    pub fn failed(error: impl Into<BoxError>) -> StepError {
        StepError::Failed(error.into())
    }
}

/// The GPU state of one process, as the channel sees it.
pub trait Workload {
    /// A capture in progress; the program runs.
    type Copying;
    /// Gate closed, queues idle.
    type Quiesced;
    /// Driver gone.
    type Detached;
    /// The program runs; part of its contents is still at dom0.
    type PostCopy;

    /// Why it cannot be moved now, if so.
    fn blocked(&self) -> Option<String>;
    /// Who else holds its GPU; asked when dom0 has the session open, so it may take a while.
    fn others(&self) -> Others {
        Others::default()
    }
    /// What is left to a driver's own checkpoint now. Asked every few seconds.
    fn left_to_driver(&self) -> LeftToDriver {
        LeftToDriver::default()
    }
    /// What it sees on the guest's PCI bus, after the kernel has looked for new devices if `rescan`; `None` where it cannot look.
    fn bus(&self, rescan: bool) -> Option<Bus> {
        let _ = rescan;
        None
    }
    /// The domain is a new one, and nobody had asked for the state before: what was on a GPU is not there any more.
    fn moved_unasked(&mut self) {}
    /// Starts a capture.
    fn begin(
        &mut self,
        keep_alive: &mut KeepAlive<'_>,
    ) -> Result<(Begun, Self::Copying), StepError>;
    /// Sends what changed since the last round.
    fn round(
        &mut self,
        copying: &mut Self::Copying,
        number: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError>;
    /// Closes the gate, drains within `timeout`, sends the rest and the manifest of `generation`.
    /// On failure the gate is open again.
    fn stop(
        &mut self,
        copying: Self::Copying,
        timeout: Duration,
        generation: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<(Stopped, Self::Quiesced), (Self::Copying, StepError)>;
    /// Releases every object and unloads the driver.
    fn unload(
        &mut self,
        quiesced: Self::Quiesced,
    ) -> Result<(Unloaded, Self::Detached), (Self::Quiesced, StepError)>;
    /// Gives a capture up.
    fn give_up(&mut self, copying: Self::Copying);
    /// Opens the gate again; nanoseconds it was closed.
    fn reopen(&mut self, quiesced: Self::Quiesced) -> u64;
    /// Opens the gate again, and the capture goes on: what was sent counts. With the nanoseconds that it was closed.
    fn go_on(&mut self, quiesced: Self::Quiesced) -> (u64, Self::Copying);
    /// A link is about to be opened: frees the room that was kept for it.
    fn make_room(&mut self, detached: &mut Self::Detached) {
        let _ = detached;
    }
    /// Loads the driver, makes the objects, opens the gate.
    fn restore(
        &mut self,
        detached: Self::Detached,
    ) -> Result<(Opened, Self::PostCopy), (Self::Detached, StepError)>;
    /// Fetches the contents that have not arrived yet. After a failure it is called again, with a new fetcher.
    fn post_copy(
        &mut self,
        arriving: Self::PostCopy,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<Fetched, (Self::PostCopy, StepError)>;
}
