//! The carrier without Xen: a memfd, two eventfds, and a Unix socket to meet at.
//!
//! The same session, protocol and daemon code runs over it as over grants, so a migration there and
//! back can be run on any Linux machine. Each message on the socket (`SOCK_SEQPACKET`) is one JSON
//! object; the pages and doorbells travel as file descriptors.

mod guest;
mod host;
mod memfd;
mod messages;

pub use guest::LoopbackRendezvous;
pub use host::{LoopbackListener, LoopbackPeer};

/// Environment variable that names the socket to meet at; without it a session looks for Xen.
pub const SOCKET_ENV: &str = "XL_GPU_LOOPBACK";

#[cfg(test)]
mod tests;
