//! Contents that are still on their way after a move.

/// Waits until all of them are there.
#[cold]
pub fn wait() {}
