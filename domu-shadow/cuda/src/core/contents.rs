//! Waiting for contents that are on their way after a move.

use runtime::residency;

use super::memory;

/// Waits until all contents have arrived: kernels follow pointers, so a call may need any of them.
#[cold]
pub fn wait() {
    let blocks = memory::blocks();
    residency::ensure_resident(blocks.iter().map(|block| &**block));
}
