//! The carrier of a program that may not open Xen's devices: an agent of the guest relays its channel.
//!
//! ```text
//!   program                               agent                          XenStore, dom0
//!     Hello ───────────────────────────────>
//!     <───────────── Done, socket of requests
//!     Announce ────────────────────────────>  writes the session's nodes ──>
//!     <───────────────────────────── Domain
//!     <════ requests: Open ═════════════════  <─────────────── request := "open"
//!     Share { pages } ─────────────────────>  grants as many, binds a port
//!     <──────── Lent { pages }, memfd, doorbell
//!     lays out the directory
//!     Publish ─────────────────────────────>  writes `channel` ────────────>
//!     <─────────────────────────────── Done
//!     <═════ rings and slots of the memfd ══  ═══ rings and slots, granted ═>
//!     <════ requests: Close ════════════════  unbinds, ends grants  <── "close"
//!     Closed ──────────────────────────────>  request := "" ───────────────>
//! ```
//!
//! Each message of the program's has one answer. What dom0 asks comes on a socket of its own. `docs/agent.md` says why it is so; the
//! agent itself is the crate `agent`.

mod client;
mod link;
mod messages;

pub use client::{AgentRendezvous, AnnouncedIn};
pub use link::{ForProgram, SharedLink};
pub use messages::{Answer, Asked, Told, VERSION};

/// Where the agent listens.
pub const SOCKET: &str = "/run/xl-gpu/agent.sock";

/// Environment variable that names another socket.
pub const SOCKET_ENV: &str = "XL_GPU_AGENT";
