//! Coming to rest.

use std::sync::Arc;
use std::time::Instant;

use channel::BoxError;
use runtime::delta::DriverError;
use runtime::gate::Draining;
use runtime::poll::by_deadline;

use crate::beside::aside::Aside;
use crate::beside::home::{Home, call};
use crate::beside::pin;
use crate::core::context::Context;
use crate::core::{capturing, memory, obstacles};

/// Why the program's work does not come to rest.
#[derive(Debug, thiserror::Error)]
enum NotAtRest {
    #[error("{0} thread(s) inside CUDA calls")]
    Inside(usize),
    #[error("{0} stream(s) are being captured into a graph")]
    Capturing(usize),
    #[error("work in {0} CUDA context(s) has not ended")]
    Running(usize),
    #[error("the program's work has failed: {0}")]
    Failed(DriverError),
    #[error("the driver still has shared pages of a link that is gone")]
    Pinned,
    #[error("no thread to wait for the program's work: {0}")]
    NoThread(std::io::Error),
}

/// A wait for all work of a context.
type Wait = Aside<Result<(), DriverError>>;

fn wait_for(context: Arc<Context>) -> Result<Wait, NotAtRest> {
    let home = Home::new(context);
    let wait = move || home.enter().and_then(|_here| call!(cuCtxSynchronize()));
    Aside::start("xl-gpu-sync", wait).map_err(NotAtRest::NoThread)
}

fn has_ended(wait: &Wait) -> bool {
    wait.answer().is_some()
}

/// The waits of a move.
#[derive(Default)]
pub(super) struct Rest {
    /// Threads that stayed behind.
    behind: Vec<Wait>,
}

impl Rest {
    /// Waits for all that runs. Streams that are being captured end first, whose calls still pass the gate.
    pub(super) fn quiesce(&mut self, gate: &Draining, deadline: Instant) -> Result<(), BoxError> {
        let is_quiet = || gate.inside() == 0 && capturing::open() == 0;
        if !by_deadline(deadline, is_quiet) {
            let why = match capturing::open() {
                0 => NotAtRest::Inside(gate.inside()),
                open => NotAtRest::Capturing(open),
            };
            return Err(why.into());
        }
        Ok(self.synchronize(deadline)?)
    }

    /// The gate is closed: false if the program has begun something meanwhile that has not come to its end.
    pub(super) fn settle(&mut self, deadline: Instant) -> Result<bool, BoxError> {
        if capturing::open() > 0 {
            return Ok(false);
        }
        self.synchronize(deadline)?;
        Ok(true)
    }

    fn synchronize(&mut self, deadline: Instant) -> Result<(), NotAtRest> {
        // What stayed behind ends with what it waits for: another such thread would be of no use.
        if !by_deadline(deadline, || self.behind.iter().all(has_ended)) {
            return Err(NotAtRest::Running(self.open()));
        }
        self.behind.clear();
        for context in memory::contexts() {
            self.behind.push(wait_for(context)?);
        }
        if !by_deadline(deadline, || self.behind.iter().all(has_ended)) {
            return Err(NotAtRest::Running(self.open()));
        }
        for wait in std::mem::take(&mut self.behind) {
            if let Some(Err(error)) = wait.answer() {
                obstacles::note_error(error.code);
                return Err(NotAtRest::Failed(*error));
            }
        }
        if !pin::have_ended(deadline) {
            return Err(NotAtRest::Pinned);
        }
        Ok(())
    }

    fn open(&self) -> usize {
        self.behind.iter().filter(|wait| !has_ended(wait)).count()
    }
}
