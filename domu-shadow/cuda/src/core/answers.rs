//! What the program is told of memory that has been away.

use std::sync::atomic::{AtomicBool, Ordering};

use super::state::State;
use crate::abi::CUdeviceptr;
use crate::driver::vm::{Answer, Value};

/// Memory has gone once: the driver may say something else of it than before.
static HAS_MOVED: AtomicBool = AtomicBool::new(false);

/// Memory goes.
pub fn note_moved() {
    HAS_MOVED.store(true, Ordering::Relaxed);
}

/// What the program is told of a pointer, where the driver would say something else than before the first move.
pub fn answer(state: &State, attribute: u32, at: CUdeviceptr) -> Option<Answer<Value>> {
    if let Some((_, _, ordinary)) = state.allocations.converted_around(at) {
        return ordinary.record.as_ref()?.answer(attribute);
    }
    let (_, mapping) = state.virtual_memory.around(at)?;
    mapping.identity?.answer(attribute)
}

/// Whether memory has gone once: before, the driver knows all.
pub fn has_moved() -> bool {
    HAS_MOVED.load(Ordering::Relaxed)
}
