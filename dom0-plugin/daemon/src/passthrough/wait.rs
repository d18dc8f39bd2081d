//! Waiting for what a guest or the toolstack has to do.

use std::io;
use std::time::{Duration, Instant};

/// Whether it came to be so within `patience`; looked at every `pace`.
pub fn wait(
    patience: Duration,
    pace: Duration,
    mut is_so: impl FnMut() -> io::Result<bool>,
) -> io::Result<bool> {
    let started = Instant::now();
    while !is_so()? {
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pace.min(left));
    }
    Ok(true)
}
