//! The guest's end: a session that serves dom0's commands.
//!
//! ```text
//!            Begin              Stop               Unload
//!  Running ────────> Copying ────────> Quiesced ────────> Detached
//!     ^  ^    Resume    │     Resume       │                  │ Restore
//!     │  └──────────────┴──────────────────┘                  v
//!     └────────────────── all has arrived ──────────────── Arriving <─┐
//!                                                             └───────┘ Restore, after a break
//! ```
//!
//! Each state is a type of the workload's own: what a state does not offer cannot be called in it. A
//! command that does not fit the state is answered `Failed` and changes nothing. When the link ends,
//! `Copying` and `Quiesced` fall back to `Running` (dom0 is gone or has given up: the program goes on);
//! `Detached` and `Arriving` stay, and wait for whoever has the image.
//!
//! A link ends at dom0's request, or by itself when dom0 breaks the rules or [`Patience`] is out: no page
//! and no port is kept for a daemon that may never come back.

#![forbid(unsafe_code)]

mod boxes;
mod interrupt;
mod session;
mod slots;
mod traffic;

pub use boxes::{Filled, Inbox, Outbox, Pulse};
pub use interrupt::Interrupt;
pub use session::Session;
pub use slots::Slot;

use crate::BoxError;
use crate::link::Others;
use crate::message::{ToGuest, ToHost};
use std::time::Duration;

/// How long the guest waits for dom0 while a link is open.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For room in a ring, a drained slot or fetched bytes, and (on top of the time-out of the `Stop`) for the
    /// next command while the program is held up.
    pub silence: Duration,
    /// For the next command while the program is not held up: dom0 may be copying RAM.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
        }
    }
}

/// What a started capture will carry.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// Buffers resident now.
    pub buffers: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl From<Begun> for ToHost {
    fn from(b: Begun) -> ToHost {
        ToHost::Begun {
            buffers: b.buffers,
            bytes: b.bytes,
        }
    }
}

/// What a round carried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    /// Buffer bytes sent.
    pub bytes: u64,
    /// Bytes that have changed again already: those found by comparing, and all of what may have changed where
    /// nothing is compared.
    pub dirty: u64,
    /// Bytes of objects that travel whole when anything in them may have changed.
    pub whole: u64,
    /// Why buffers among these are not compared.
    pub why: Whole,
}

/// Why buffers travel whole instead of being compared on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whole {
    /// None does that could be compared: only images, and contexts with very little in their buffers.
    #[default]
    Not,
    /// The device's compiler does not take the kernels that compare, or there is none.
    NoKernels,
    /// The device has no memory left for the tables.
    NoMemory,
    /// The driver failed in comparing.
    Driver,
    /// The program's environment says so.
    Off,
    /// The device's compiler makes wrong code of the kernels that compare: they were tried, and failed.
    WrongKernels,
    /// A reason this build does not know.
    Other(u64),
}

impl From<u64> for Whole {
    fn from(number: u64) -> Whole {
        match number {
            0 => Whole::Not,
            1 => Whole::NoKernels,
            2 => Whole::NoMemory,
            3 => Whole::Driver,
            4 => Whole::Off,
            5 => Whole::WrongKernels,
            other => Whole::Other(other),
        }
    }
}

impl From<Whole> for u64 {
    fn from(why: Whole) -> u64 {
        match why {
            Whole::Not => 0,
            Whole::NoKernels => 1,
            Whole::NoMemory => 2,
            Whole::Driver => 3,
            Whole::Off => 4,
            Whole::WrongKernels => 5,
            Whole::Other(number) => number,
        }
    }
}

impl std::fmt::Display for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Whole::Not => "none that could be compared",
            Whole::NoKernels => "the device's compiler does not take the kernels that compare",
            Whole::NoMemory => "the device has no memory left to compare with",
            Whole::Driver => "the driver failed in comparing; the program's log has its error",
            Whole::WrongKernels => {
                "the device's compiler makes wrong code of the kernels that compare; the program's log says where"
            }
            Whole::Off => "comparing is switched off in the program's environment",
            Whole::Other(_) => "for a reason that this version does not know",
        })
    }
}

/// What a stop-and-copy carried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stop {
    /// Buffer bytes sent.
    pub bytes: u64,
    /// Buffers the image holds.
    pub buffers: u64,
    /// Nanoseconds from the closed gate to idle queues.
    pub drain_ns: u64,
    /// Nanoseconds from idle queues to the last byte in the shared pages.
    pub copy_ns: u64,
    /// Nanoseconds of these in which the host only waited for comparisons.
    pub compare_ns: u64,
    /// Bytes that were compared.
    pub examined: u64,
}

impl From<Stop> for ToHost {
    fn from(s: Stop) -> ToHost {
        ToHost::Stopped {
            bytes: s.bytes,
            buffers: s.buffers,
            drain_ns: s.drain_ns,
            copy_ns: s.copy_ns,
            compare_ns: s.compare_ns,
            examined: s.examined,
        }
    }
}

/// What an unload found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unload {
    /// Nanoseconds it took.
    pub unload_ns: u64,
    /// Vendor libraries that stayed mapped.
    pub libraries: u64,
    /// GPU device nodes that the process still has open or mapped: the device cannot be taken away.
    pub devices: u64,
}

impl From<Unload> for ToHost {
    fn from(u: Unload) -> ToHost {
        ToHost::Unloaded {
            unload_ns: u.unload_ns,
            libraries: u.libraries,
            devices: u.devices,
        }
    }
}

/// What the program's way back to running cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// Nanoseconds the program's calls were blocked, from closed to open gate.
    pub blackout_ns: u64,
    /// Nanoseconds of these in which the VCPUs were paused.
    pub downtime_ns: u64,
    /// Nanoseconds for driver and objects.
    pub reload_ns: u64,
}

impl From<Opened> for ToHost {
    fn from(o: Opened) -> ToHost {
        ToHost::Opened {
            blackout_ns: o.blackout_ns,
            downtime_ns: o.downtime_ns,
            reload_ns: o.reload_ns,
        }
    }
}

/// A whole restore, as dom0 sees it: [`Opened`] and what has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Nanoseconds the program's calls were blocked, from closed to open gate.
    pub blackout_ns: u64,
    /// Nanoseconds of these in which the VCPUs were paused.
    pub downtime_ns: u64,
    /// Nanoseconds for driver and objects.
    pub reload_ns: u64,
    /// Buffer bytes fetched.
    pub bytes: u64,
}

/// What has arrived when everything has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrived {
    /// Buffer bytes fetched in this step.
    pub bytes: u64,
}

impl From<Arrived> for ToHost {
    fn from(a: Arrived) -> ToHost {
        ToHost::Restored { bytes: a.bytes }
    }
}

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
    type Arriving;

    /// Why it cannot be moved now, if so.
    fn blocked(&self) -> Option<String>;
    /// Who else holds its GPU; asked when dom0 has the session open, so it may take a while.
    fn others(&self) -> Others {
        Others::default()
    }
    /// Starts a capture.
    fn begin(&mut self, pulse: &mut Pulse<'_>) -> Result<(Begun, Self::Copying), StepError>;
    /// Sends what changed since the last round.
    fn round(
        &mut self,
        copying: &mut Self::Copying,
        number: u32,
        out: &mut Outbox<'_>,
    ) -> Result<Round, StepError>;
    /// Closes the gate, drains within `timeout`, sends the rest and the manifest of `generation`.
    /// On failure the gate is open again.
    fn stop(
        &mut self,
        copying: Self::Copying,
        timeout: Duration,
        generation: u64,
        out: &mut Outbox<'_>,
    ) -> Result<(Stop, Self::Quiesced), (Self::Copying, StepError)>;
    /// Releases every object and unloads the driver.
    fn unload(
        &mut self,
        quiesced: Self::Quiesced,
    ) -> Result<(Unload, Self::Detached), (Self::Quiesced, StepError)>;
    /// Gives a capture up.
    fn give_up(&mut self, copying: Self::Copying);
    /// Opens the gate again; nanoseconds it was closed.
    fn reopen(&mut self, quiesced: Self::Quiesced) -> u64;
    /// A link is about to be opened: room that was kept for it has to be free now.
    fn make_room(&mut self, detached: &mut Self::Detached) {
        let _ = detached;
    }
    /// Loads the driver, makes the objects, opens the gate.
    fn restore(
        &mut self,
        detached: Self::Detached,
    ) -> Result<(Opened, Self::Arriving), (Self::Detached, StepError)>;
    /// Fetches the contents that have not arrived yet. After a failure it is called again, with another inbox.
    fn arrive(
        &mut self,
        arriving: Self::Arriving,
        inbox: &mut Inbox<'_>,
    ) -> Result<Arrived, (Self::Arriving, StepError)>;
}
