//! The carrier without Xen: a memfd, two eventfds, and a Unix socket to meet at.
//!
//! The same session, protocol and daemon code runs over it as over grants, so a migration there and
//! back can be run on any Linux machine. Each message on the socket (`SOCK_SEQPACKET`) is one JSON
//! object; the pages and doorbells travel as file descriptors.

mod guest;
mod host;
mod memfd;
mod socket;

pub use guest::LoopbackRendezvous;
pub use host::{LoopbackListener, LoopbackPeer};

use crate::link::{Announcement, Request};
use serde::{Deserialize, Serialize};

/// Environment variable that names the socket to meet at; without it a session looks for Xen.
pub const SOCKET_ENV: &str = "XL_GPU_LOOPBACK";

/// From the program to the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Announce(Announcement),
    /// With three descriptors: memfd, doorbell of the daemon, doorbell of the program.
    Channel {
        pages: usize,
    },
    Closed,
    Failed(String),
}

/// From the daemon to the program.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    request: Request,
}

#[cfg(test)]
mod tests;
