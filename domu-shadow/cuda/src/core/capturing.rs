//! Streams that are being captured into graphs.
//!
//! Between the beginning of a capture and its end the program makes calls that have to follow each other, and a move waits for the end. So
//! while a capture is open, calls still enter a gate that drains ([`super::entry`]).

use std::sync::atomic::{AtomicUsize, Ordering};

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A capture has begun. Called inside the gate.
pub fn begin() {
    OPEN.fetch_add(1, Ordering::SeqCst);
}

/// One that had begun has ended, or its stream is gone.
pub fn end() {
    let had = OPEN.fetch_sub(1, Ordering::SeqCst);
    debug_assert!(had > 0, "a capture ended that never began");
}

/// How many captures are open.
#[inline]
pub fn open() -> usize {
    OPEN.load(Ordering::Relaxed)
}
