//! The carrier of a program that may not open Xen's devices: an agent of the guest grants pages for it and relays its doorbell.
//!
//! ```text
//!   program                               agent                          XenStore, dom0
//!     Hello ───────────────────────────────>
//!     <───────────── Done, socket of requests
//!     Announce ────────────────────────────>  writes the session's nodes ──>
//!     <───────────────────────────── Domain
//!     <════ requests: Open ═════════════════  <─────────────── request := "open"
//!     Share { pages } ─────────────────────>  grants pages, binds a port
//!     <──────── Lent { pages }, pages, doorbell
//!     lays out the directory
//!     Publish ─────────────────────────────>  writes `channel`, with a seal ──>
//!     <─────────────────────────────── Done
//!     <════ requests: Close ════════════════  unbinds the port  <── "close"
//!     Closed ──────────────────────────────>  request := "" ───────────────>
//! ```
//!
//! Each message of the program's has one answer. What dom0 asks comes on a socket of its own. The lent pages begin with their references,
//! a word each. `docs/agent.md` says why it is so; the agent itself is the crate `agent`.

mod client;
mod messages;

pub use client::{AgentRendezvous, AnnouncedIn};
pub use messages::{Answer, Asked, Told, VERSION};

/// Where the agent listens.
pub const SOCKET: &str = "/run/xl-gpu/agent.sock";

/// Environment variable that names another socket.
pub const SOCKET_ENV: &str = "XL_GPU_AGENT";
