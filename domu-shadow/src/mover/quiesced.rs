//! The program at rest: gate closed, no command running.

use std::time::{Duration, Instant};

use opencl_sys::cl_int;

use super::capture::Capture;
use super::comparing::Pace;
use super::detached::{self, Detached};
use super::dirty::Markers;
use super::engine::Transfer;
use super::memory::HostBytes;
use super::way_back::WayBack;
use super::{MoveError, Round, Sent};
use crate::callbacks;
use crate::core::event::Event;
use crate::core::handle;
use crate::core::held;
use crate::core::movable;
use crate::core::retired;
use crate::delta::Sink;
use crate::gate::{self, Closed, Draining};

/// Nothing of the program's runs. Dropping it opens the gate and ends the capture.
pub struct Quiesced {
    // Opened before the capture's queues are released: the program needs not wait for that.
    closed: Closed,
    capture: Capture,
    way_back: Box<WayBack>,
    since: u64,
}

/// `CLOCK_BOOTTIME`, ns: the clock that goes on over a suspend.
pub(super) fn boot_time() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for the answer; this clock always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Asks `is_done` until it says yes, ever less often; false when `deadline` passes first.
pub(super) fn poll(deadline: Instant, is_done: impl Fn() -> bool) -> bool {
    const LONGEST: Duration = Duration::from_millis(1);
    let mut pause = Duration::from_micros(10);
    loop {
        if is_done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

pub(super) fn quiesce(
    mut capture: Capture,
    timeout: Duration,
) -> Result<Quiesced, (Capture, MoveError)> {
    if let Some(reason) = movable::blocked() {
        return Err((capture, MoveError::Blocked(reason)));
    }
    let way_back = match WayBack::take() {
        Ok(way_back) => way_back,
        Err(short) => return Err((capture, short)),
    };
    let since = boot_time();
    let Some(draining) = gate::drain() else {
        return Err((capture, MoveError::Busy));
    };
    match come_to_rest(draining, timeout) {
        Ok(closed) => {
            capture.at_rest();
            Ok(Quiesced {
                closed,
                capture,
                way_back,
                since,
            })
        }
        Err(why) => Err((
            capture,
            MoveError::NotQuiet {
                waited: timeout,
                why,
            },
        )),
    }
}

/// On failure the gate is open again.
fn come_to_rest(mut draining: Draining, timeout: Duration) -> Result<Closed, String> {
    let deadline = Instant::now() + timeout;
    loop {
        let held = held::changes();
        let closed = rest_of_commands(draining, deadline)?;
        if held == held::changes() {
            settle_events()
                .map_err(|status| format!("a command has ended but its event says {status}"))?;
            return Ok(closed);
        }
        // The program has let commands go meanwhile, and they may be running.
        draining = closed.drain();
    }
}

/// Waits for all that runs; what user events hold back does not.
fn rest_of_commands(draining: Draining, deadline: Instant) -> Result<Closed, String> {
    if !poll(deadline, || draining.inside() == 0) {
        return Err(format!(
            "{} thread(s) inside OpenCL calls{}",
            draining.inside(),
            user_events()
        ));
    }
    // Nothing new is enqueued from here on.
    if let Some(obstacle) = held::obstacle() {
        return Err(obstacle.to_owned());
    }
    let markers = Markers::place();
    if !markers.wait(deadline) {
        return Err(format!(
            "commands in {} queue(s) have not ended{}",
            markers.open(),
            user_events()
        ));
    }
    drop(markers);
    held::look_again();
    if !poll(deadline, || callbacks::owed() == 0) {
        return Err(format!(
            "the driver owes {} event callback(s)",
            callbacks::owed()
        ));
    }
    let closed = close(draining, deadline)?;
    // Queues released since then: their last events must not outlive the driver.
    if !poll(deadline, || retired::open() == 0) {
        return Err(format!("{} released queue(s) are at work", retired::open()));
    }
    Ok(closed)
}

/// Calls that look in at the gate, or release something, are inside for a moment even now.
fn close(mut draining: Draining, deadline: Instant) -> Result<Closed, String> {
    loop {
        match draining.close() {
            Ok(closed) => return Ok(closed),
            Err(again) if Instant::now() < deadline => draining = again,
            Err(again) => {
                return Err(format!("{} thread(s) inside OpenCL calls", again.inside()));
            }
        }
        std::thread::sleep(Duration::from_micros(20));
    }
}

fn user_events() -> String {
    let open = handle::all::<Event>()
        .iter()
        .filter(|event| event.is_open_user_event())
        .count();
    if open == 0 {
        String::new()
    } else {
        format!("; {open} user event(s) wait for the program")
    }
}

fn settle_events() -> Result<(), cl_int> {
    handle::all::<Event>()
        .iter()
        .try_for_each(|event| event.settle())
}

impl Quiesced {
    /// When the gate closed, `CLOCK_BOOTTIME` ns.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// What was written since the last round; nothing can change it any more.
    pub fn last_round(&mut self) -> Round {
        self.capture.last_round()
    }

    /// As [`Capture::send_changed`], at full speed: the program waits.
    ///
    /// # Errors
    /// As there.
    pub fn send_changed(&mut self, round: &Round, sink: &mut dyn Sink) -> Result<Sent, MoveError> {
        self.capture.send(round, Pace::Alone, sink)
    }

    /// Every root buffer: id and size in bytes.
    pub fn objects(&self) -> Vec<(u64, u64)> {
        use crate::core::handle::Object;
        super::engine::root_buffers()
            .iter()
            .map(|mem| (mem.slot().id(), mem.size as u64))
            .collect()
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
        self.capture.start_read(object, offset, to)
    }

    /// As [`Capture::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read<M: HostBytes>(&self, object: u64, offset: u64, to: M) -> Result<M, MoveError> {
        self.capture.read(object, offset, to)
    }

    /// Opens the gate: the program goes on, with nothing lost. The capture goes on too, unless it is dropped.
    pub fn reopen(self) -> Capture {
        drop(self.closed);
        self.capture
    }

    /// Releases every object of the drivers and unloads them. All transfers must have been waited for.
    ///
    /// # Errors
    /// `Blocked` if something that cannot be moved came into use meanwhile.
    pub fn unload(self) -> Result<Detached, (Quiesced, MoveError)> {
        if let Some(reason) = movable::blocked() {
            return Err((self, MoveError::Blocked(reason)));
        }
        let Quiesced {
            closed,
            capture,
            way_back,
            since,
        } = self;
        Ok(detached::unload(closed, capture, way_back, since))
    }
}
