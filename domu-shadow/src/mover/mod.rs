//! Moving the process's GPU state: the safe interface that a session uses.
//!
//! ```text
//!            begin()            quiesce()             unload()              reload()           finish()
//!  (runs) ─────────▶ Capture ─────────────▶ Quiesced ─────────▶ Detached ─────────▶ Arriving ─────────▶ (runs)
//!                    ▲   │ round, read,       │ last_round, read,   nothing of a      write
//!                    │   │ send_changed       │ send_changed        driver is left
//!                    └───┴─────── reopen() ───┘
//! ```
//!
//! The program runs in `Capture` and in `Arriving`; from `Quiesced` to `reload` its OpenCL calls wait at the gate (the
//! *blackout*). In `Arriving` only those wait that name an object whose contents have not come: [`crate::core::presence`].
//! The objects themselves stay in the process; only the contents of root buffers and of images (packed) go out and come back,
//! by the object's id (`object`, unique in the process, never 0).

mod arriving;
mod capture;
mod coming;
mod comparing;
mod detached;
mod dirty;
mod engine;
mod error;
mod matching;
mod memory;
mod packed;
mod pin;
mod quiesced;
mod summary;
mod way_back;

pub use crate::core::movable::blocked;
pub use arriving::{Arriving, Blackout};
pub use capture::{Capture, begin};
pub use coming::Piece;
pub use detached::Detached;
pub use engine::Transfer;
pub use error::MoveError;
pub use memory::{HostBytes, OwnedBytes};
pub use quiesced::Quiesced;
pub use summary::{Summary, summary};
pub use way_back::lacks_room;

use crate::core::handle::Object;
use crate::core::mem::Mem;
use crate::delta::PassReport;
use dirty::Taken;

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

impl Region {
    fn all_of(mem: &Mem) -> Region {
        let size = mem.size as u64;
        Region {
            object: mem.slot().id(),
            object_size: size,
            offset: 0,
            len: size,
        }
    }
}

/// What has to be sent now. The compared buffers live as long as this does.
#[derive(Default)]
pub struct Round {
    /// To be read whole.
    pub regions: Vec<Region>,
    /// Buffers sent in an earlier round that the program has released since.
    pub dropped: Vec<u64>,
    /// What changed in these is found and sent by `send_changed`.
    compared: Vec<Taken>,
}

impl Round {
    /// Bytes in all regions.
    pub fn bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.len).sum()
    }
}

/// What `send_changed` did.
#[derive(Debug, Default)]
pub struct Sent {
    pub report: PassReport,
    /// Still to be read whole: the driver failed in comparing them.
    pub whole: Vec<Region>,
}
