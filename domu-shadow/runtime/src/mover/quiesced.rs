//! The program at rest: gate closed, no command running.

use std::time::{Duration, Instant};

use super::announced::blocked;
use super::capture::Capture;
use super::detached::{self, Detached};
use super::error::MoveError;
use super::memory::HostBytes;
use super::round::{Program, Round, Sent};
use super::transfer::Transfer;
use super::way_back::WayBack;
use crate::clock;
use crate::delta::sink::Sink;
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
    way_back: Box<WayBack>,
}

impl Rest {
    fn reopen(mut self) -> Capture {
        self.capture.parts().resume();
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
    /// `Blocked`, `Busy`, or `NotQuiet` with the reason when it takes longer than `timeout`.
    pub fn quiesce(mut self, timeout: Duration) -> Result<Quiesced, (Capture, MoveError)> {
        if let Some(reason) = blocked() {
            return Err((self, MoveError::Blocked(reason)));
        }
        let way_back = match WayBack::take() {
            Ok(way_back) => way_back,
            Err(short) => return Err((self, short)),
        };
        let since = clock::boot_ns();
        let Some(draining) = gate::drain() else {
            return Err((self, MoveError::Busy));
        };
        match self.parts().quiesce(draining, Instant::now() + timeout) {
            Ok(closed) => {
                let rest = Rest {
                    closed,
                    capture: self,
                    way_back,
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

impl Quiesced {
    fn capture(&self) -> &Capture {
        &self.rest.as_ref().expect(THERE).capture
    }

    fn capture_mut(&mut self) -> &mut Capture {
        &mut self.rest.as_mut().expect(THERE).capture
    }

    /// When the gate closed, `CLOCK_BOOTTIME` ns.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// What was written since the last round; nothing can change it any more.
    pub fn last_round(&mut self) -> Round {
        self.capture_mut().list(Program::Waits)
    }

    /// As [`Capture::send_changed`], at full speed: the program waits.
    ///
    /// # Errors
    /// As there.
    pub fn send_changed(&mut self, round: &Round, sink: &mut dyn Sink) -> Result<Sent, MoveError> {
        self.capture_mut().send(round, Program::Waits, sink)
    }

    /// Every object whose contents move: id and size in bytes.
    pub fn objects(&self) -> Vec<(u64, u64)> {
        self.capture().objects()
    }

    /// As [`Capture::start_read`].
    ///
    /// # Errors
    /// As there.
    pub fn start_read<M: HostBytes>(
        &self,
        object: u64,
        offset: u64,
        to: M,
    ) -> Result<Transfer<M>, MoveError> {
        self.capture().start_read(object, offset, to)
    }

    /// As [`Capture::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read<M: HostBytes>(&self, object: u64, offset: u64, to: M) -> Result<M, MoveError> {
        self.capture().read(object, offset, to)
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
            way_back,
        } = self.rest.take().expect(THERE);
        Ok(detached::unload(closed, capture, way_back, self.since))
    }
}
