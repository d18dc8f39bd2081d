//! Waiting for what must come.

use std::time::{Duration, Instant};

/// Longer than anything takes unless it hangs.
pub const AGES: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + AGES;
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
