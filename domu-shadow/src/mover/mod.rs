//! Moving the process's GPU state: the safe interface that a session uses.
//!
//! ```text
//!            begin()            quiesce()             unload()              reload()            finish()
//!  (runs) ─────────▶ Capture ─────────────▶ Quiesced ─────────▶ Detached ─────────▶ Restoring ─────────▶ (runs)
//!                    ▲   │ round, read        │ last_round, read    nothing of a       write
//!                    │   │                    │                     driver is left
//!                    └───┴─────── reopen() ───┘
//! ```
//!
//! The program runs in `Capture`; from `Quiesced` to `finish` its OpenCL calls wait at the gate (the *blackout*).
//! The objects themselves stay in the process; only the contents of root buffers and of images (packed) go out and come back,
//! by the object's id (`object`, unique in the process, never 0).

mod capture;
mod detached;
mod dirty;
mod engine;
mod error;
mod matching;
mod memory;
mod packed;
mod quiesced;
mod restoring;
mod summary;

pub use crate::core::movable::blocked;
pub use capture::{Capture, begin};
pub use detached::Detached;
pub use engine::Transfer;
pub use error::MoveError;
pub use memory::{HostBytes, OwnedBytes};
pub use quiesced::Quiesced;
pub use restoring::{Blackout, Restoring};
pub use summary::{Summary, summary};

/// A part of a root buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The buffer's id.
    pub object: u64,
    /// The whole buffer, bytes.
    pub object_size: u64,
    /// First byte of the region.
    pub offset: u64,
    /// Bytes of the region.
    pub len: u64,
}

/// What has to be sent now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub regions: Vec<Region>,
    /// Buffers sent in an earlier round that the program has released since.
    pub dropped: Vec<u64>,
}

impl Round {
    /// Bytes in all regions.
    pub fn bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.len).sum()
    }
}
