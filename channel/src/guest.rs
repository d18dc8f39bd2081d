//! The guest's end: a session that serves dom0's commands.
//!
//! ```text
//!            Begin              Stop               Unload
//!  Running ────────> Copying ────────> Quiesced ────────> Detached
//!     ^  ^    Resume    │     Resume       │                  │ Restore
//!     │  └──────────────┴──────────────────┘                  v
//!     └────────────────── all has arrived ──────────────── PostCopy <─┐
//!                                                             └───────┘ Restore, after a break
//! ```
//!
//! Each state is a type of the workload's own: what a state does not offer cannot be called in it. A
//! command that does not fit the state is answered `Failed` and changes nothing. When the link ends,
//! `Copying` and `Quiesced` fall back to `Running` (dom0 is gone or has given up: the program goes on);
//! `Detached` and `PostCopy` stay, and wait for whoever has the image.
//!
//! A link ends at dom0's request, or by itself when dom0 breaks the rules or [`GuestTimeouts`] is out: no page
//! and no port is kept for a daemon that may never come back.

#![forbid(unsafe_code)]

mod batch_sender;
mod conversation;
mod fetcher;
mod interrupt;
mod keep_alive;
mod session;
mod slots;
mod state;
mod timeouts;
mod workload;

pub use crate::answers::{Begun, Fetched, Opened, Restored, RoundDone, Stopped, Unloaded, Whole};
pub use batch_sender::BatchSender;
pub use fetcher::{Fetcher, Filled};
pub use interrupt::Interrupt;
pub use keep_alive::KeepAlive;
pub use session::Session;
pub use slots::Slot;
pub use timeouts::GuestTimeouts;
pub use workload::{StepError, Workload};
