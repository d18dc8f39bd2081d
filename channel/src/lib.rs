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
//! Each room knows those above it only:
//!
//! | room | what it does |
//! |---|---|
//! | [`memory`] | the only place that touches shared bytes |
//! | [`ring`], [`doorbell`] | move 64-byte entries, and lose no wake-up |
//! | [`message`], `answers` | what the entries mean; a step's figures |
//! | [`image`] | contents: batches, extents, digests, the manifest |
//! | [`layout`] | what lies where in the shared pages |
//! | [`bus`] | what a session sees on its guest's PCI bus |
//! | [`link`] | what a carrier provides: pages, a doorbell, a place to meet |
//! | [`port`] | one end of an open link: both rings and the doorbell |
//! | [`guest`], [`host`] | the two ends of the protocol |
//! | [`datagram`], `mapping` | messages and descriptors over a socket; pages of a file |
//! | [`loopback`] | the carrier without Xen: memfd, eventfd, a socket |
//! | [`agent`] | the carrier of a program without rights: an agent lends it pages and a doorbell |
//! | [`relay`] | passes a program's channel on to dom0 |
//! | [`this_domain`] | what tells a domain from the one before a move, by its nodes |
//! | [`xenstore`] | names and values of the nodes by which the two ends meet over Xen |
//!
//! Xen's carrier, grants and event channels, is in the crates that call Xen's libraries. This one calls neither Xen's
//! nor a GPU's.

pub mod agent;
mod answers;
pub mod bus;
pub mod datagram;
pub mod doorbell;
pub mod guest;
pub mod host;
pub mod image;
pub mod layout;
pub mod link;
pub mod loopback;
mod mapping;
pub mod memory;
pub mod message;
pub mod port;
pub mod relay;
pub mod ring;
pub mod this_domain;
pub mod xenstore;

/// An error of whoever uses this crate, with its type: a spool's, a stream's, a driver's.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes in a page: the unit of sharing. Xen's grants are always 4 KiB.
pub const PAGE_SIZE: usize = 4096;

/// Oldest and newest version of the channel protocol this build speaks.
pub const PROTOCOL: std::ops::RangeInclusive<u32> = 1..=2;
