//! dom0's end: what a daemon may do with a session, each state a type.
//!
//! ```text
//!            begin              stop               unload           close
//!  Attached ───────> Copying ────────> Quiesced ─────────> Detached ──────> (image in the spool)
//!     ^  ^   resume     │    resume       │                    │
//!     │  └──────────────┴─────────────────┘                    │
//!     └────────────────────── restore ─────────────────────────┘
//! ```
//!
//! In the middle of a restore the program runs already and the rest arrives; a session that lost its link then is
//! opened as `Detached` again: it gets the same command.
//!
//! Nothing the guest writes is trusted: messages and batches are copied to private memory first and
//! validated there, and the first nonsense ends the session. A guest can be slow only up to
//! [`HostTimeouts`], and send only as much as [`StepLimits`] grants. Figures in its answers are claims: good for
//! a prediction, never for an allocation.

#![forbid(unsafe_code)]

mod capture;
mod clock;
mod commands;
mod error;
mod limits;
mod restore;
mod sink;
mod states;
mod workers;

pub use clock::HostTimeouts;
pub use error::{HostError, printable};
pub use limits::StepLimits;
pub use restore::{Contents, Source};
pub use sink::{SerialSink, Sink, one_by_one, workers_each};
pub use states::{Attached, Copying, Detached, Quiesced, Refused};
