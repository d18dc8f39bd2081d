//! Moving the process's GPU state: the safe interface that a session uses.
//!
//! ```text
//!            begin()            quiesce()             unload()              reload()           finish()
//!  (runs) ─────────▶ Capture ─────────────▶ Quiesced ─────────▶ Detached ─────────▶ PostCopy ─────────▶ (runs)
//!                    ▲   │ round, read,       │ last_round, read,   nothing of a      write
//!                    │   │ send_changed       │ send_changed        driver is left
//!                    └───┴─────── reopen() ───┘
//! ```
//!
//! The program runs in `Capture` and in `PostCopy`; from `Quiesced` to `reload` its calls wait at the gate (the
//! *blackout*). In `PostCopy` only those wait that name an object whose contents have not come: [`crate::residency`].
//! The objects themselves stay in the process; only their contents go out and come back, by the object's id (`object`, unique in
//! the process, never 0).

mod announced;
mod capture;
mod composite;
mod contents;
mod detached;
pub mod error;
mod fetch_order;
mod headroom;
pub mod memory;
mod postcopy;
mod quiesced;
pub mod round;
pub mod summary;
pub mod transfer;

pub use announced::{blocked, devices, left_to_driver, summary};
pub use capture::{Capture, begin};
pub use contents::Contents;
pub use detached::Detached;
pub use error::MoveError;
pub use fetch_order::FetchRange;
pub use headroom::lacks_headroom;
pub use memory::{HostBytes, OwnedBytes};
pub use postcopy::{Blackout, PostCopy};
pub use quiesced::Quiesced;
pub use round::{Program, Region, Round, Sent};
pub use summary::Summary;
pub use transfer::Transfer;
