//! How long the guest waits for dom0.

use std::time::Duration;

/// How long the guest waits for dom0 while a link is open.
#[derive(Debug, Clone, Copy)]
pub struct GuestTimeouts {
    /// For room in a ring, a drained slot or fetched bytes, and (on top of the time-out of the `Stop`) for the
    /// next command while the program is held up.
    pub silence: Duration,
    /// For the next command while the program is not held up: dom0 may be copying RAM.
    pub idle: Duration,
}

impl Default for GuestTimeouts {
    fn default() -> Self {
        GuestTimeouts {
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
        }
    }
}
