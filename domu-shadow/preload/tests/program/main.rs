//! What a classic program does, through the C functions on a real driver.

mod buffers;
mod builds;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod handles;
mod kernels;

use std::time::{Duration, Instant};

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
