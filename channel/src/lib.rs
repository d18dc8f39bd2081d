//! The shared-memory channel between one GPU session in a guest and dom0.
//!
//! ```text
//!   guest program + shadow                       dom0: xl-gpud
//!   ┌────────────────────┐   rendezvous: open    ┌──────────────────┐
//!   │ guest::Session     │ <──────────────────── │ host::Attached   │
//!   │   shares pages     │ ── reference, port ─> │   maps pages     │
//!   │                    │                       │                  │
//!   │  Begin/Round/Stop  │ <══ ring d2g ════════ │                  │
//!   │  batches in slots  │ ═══ ring g2d ═══════> │ private copy,    │
//!   │                    │                       │ validated there  │
//!   │  Unload            │ <════════════════════ │ host::Detached   │
//!   └────────────────────┘   close, unshare      └──────────────────┘
//! ```
//!
//! Data flows one way through the files: [`memory`] is the only place that touches shared bytes,
//! [`layout`] says what lies where, [`ring`] moves 64-byte messages, [`message`] gives them meaning,
//! [`bell`] waits for them, [`port`] joins rings and doorbell, [`guest`] and [`host`] are the two ends of the protocol.
//! A carrier ([`link`]) provides the pages and the doorbell: [`loopback`] here (memfd and eventfd),
//! Xen grants and event channels in the crates that know Xen. This crate knows neither Xen nor OpenCL.

pub mod bell;
pub mod guest;
pub mod host;
pub mod image;
pub mod layout;
pub mod link;
pub mod loopback;
pub mod memory;
pub mod message;
pub mod port;
pub mod ring;

/// An error of whoever uses this crate, with its type: a spool's, a stream's, a driver's.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes in a page: the unit of sharing. Xen's grants are always 4 KiB.
pub const PAGE_SIZE: usize = 4096;

/// Oldest and newest version of the channel protocol this build speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=1;
