//! What the two ends say at their socket.

use crate::link::{Announcement, Request};
use serde::{Deserialize, Serialize};

/// From the program to the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
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
pub(super) struct Asked {
    pub(super) request: Request,
}
