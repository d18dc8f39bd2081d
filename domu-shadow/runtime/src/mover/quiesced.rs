//! The program at rest: gate closed, no command running.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::announced::blocked;
use super::capture::Capture;
use super::contents::Contents;
use super::detached::{self, Detached};
use super::error::MoveError;
use super::headroom::Headroom;
use super::round::{Program, Round};
use crate::clock;
use crate::gate::{self, Closed};

/// Nothing of the program's runs. Dropping it opens the gate and ends the capture.
pub struct Quiesced {
    /// `None` only while this is taken apart.
    rest: Option<Rest>,
    since: u64,
}

struct Rest {
    // Opened before the capture's queues are released: the program needs not wait for that.
    closed: Closed,
    capture: Capture,
    headroom: Box<Headroom>,
}

impl Rest {
    fn reopen(mut self) -> Capture {
        self.capture.parts.resume();
        self.capture.program = Program::Runs;
        drop(self.closed);
        self.capture
    }
}

impl Drop for Quiesced {
    fn drop(&mut self) {
        drop(self.rest.take().map(Rest::reopen));
    }
}

impl Capture {
    /// Closes the gate and waits until nothing runs. On failure the gate is open again and the capture goes on.
    ///
    /// # Errors
    /// `Blocked`, `NoHeadroom`, `Busy`, or `NotQuiet` with the reason when it takes longer than `timeout`.
    pub fn quiesce(mut self, timeout: Duration) -> Result<Quiesced, (Capture, MoveError)> {
        if let Some(reason) = blocked() {
            return Err((self, MoveError::Blocked(reason)));
        }
        let headroom = match Headroom::take() {
            Ok(headroom) => headroom,
            Err(short) => return Err((self, short)),
        };
        let since = clock::boot_ns();
        let Some(draining) = gate::drain() else {
            return Err((self, MoveError::Busy));
        };
        match self.parts.quiesce(draining, Instant::now() + timeout) {
            Ok(closed) => {
                self.program = Program::Waits;
                let rest = Rest {
                    closed,
                    capture: self,
                    headroom,
                };
                Ok(Quiesced {
                    rest: Some(rest),
                    since,
                })
            }
            Err(why) => Err((
                self,
                MoveError::NotQuiet {
                    waited: timeout,
                    why,
                },
            )),
        }
    }
}

const THERE: &str = "taken only by value";

impl Deref for Quiesced {
    type Target = Contents;
    fn deref(&self) -> &Contents {
        &self.rest.as_ref().expect(THERE).capture
    }
}

impl DerefMut for Quiesced {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.rest.as_mut().expect(THERE).capture
    }
}

impl Quiesced {
    /// When the gate closed, `CLOCK_BOOTTIME` ns.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// What was written since the last round; nothing can change it any more.
    pub fn last_round(&mut self) -> Round {
        self.list()
    }

    /// Opens the gate: the program goes on, with nothing lost. The capture goes on too, unless it is dropped.
    pub fn reopen(mut self) -> Capture {
        self.rest.take().expect(THERE).reopen()
    }

    /// Releases every object of the drivers and unloads them. All transfers must have been waited for.
    ///
    /// # Errors
    /// `Blocked` if something that cannot be moved came into use meanwhile.
    pub fn unload(mut self) -> Result<Detached, (Quiesced, MoveError)> {
        if let Some(reason) = blocked() {
            return Err((self, MoveError::Blocked(reason)));
        }
        let Rest {
            closed,
            capture,
            headroom,
        } = self.rest.take().expect(THERE);
        Ok(detached::unload(closed, capture, headroom, self.since))
    }
}
