//! The program's device memory, as a move sees it.

use std::sync::Arc;

pub use super::block::Block;
pub use super::moving::MemoryError;
pub use super::pins::{Pinned, Pushed};

use super::block::Place;
use super::context::Context;
use super::moving;
use super::pins::reachable_in;
use super::state::state;
use crate::driver::vm::Real;

/// What the driver's checkpoint carries, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Device memory: small allocations, pools, arrays, exported memory, modules' variables that are known.
    pub device: u64,
    /// Host memory that is pinned.
    pub host: u64,
}

impl Left {
    pub fn bytes(&self) -> u64 {
        self.device + self.host
    }
}

/// All blocks that are in reach, oldest first.
pub fn blocks() -> Vec<Arc<Block>> {
    let state = state();
    let ordinary = state.allocations.iter().filter_map(|(_, allocation)| {
        let block = &allocation.ordinary()?.block;
        (!block.is_gone()).then_some(block)
    });
    let physicals = state.virtual_memory.physicals();
    let physicals = physicals
        .filter(|(_, physical)| !physical.is_left)
        .map(|(_, physical)| &physical.block);
    let mut blocks: Vec<Arc<Block>> = ordinary.chain(physicals).cloned().collect();
    blocks.retain(|block| reachable_in(block, &state).is_some());
    drop(state);
    blocks.sort_unstable_by_key(|block| block.id());
    blocks
}

/// All live contexts that the program has made or used, primary ones too.
pub fn contexts() -> Vec<Arc<Context>> {
    state().contexts.live().cloned().collect()
}

/// Takes all blocks' memory from the driver, and keeps their addresses. Goes on from where it stopped. Only with the gate closed,
/// and without a pin.
///
/// # Errors
/// The first one; what could be taken is taken. [`attach`] undoes it.
pub fn detach() -> Result<(), MemoryError> {
    moving::detach(&mut state(), &Real)
}

/// Gives all blocks memory again, at their addresses and with the access that they had. Goes on from where it stopped.
///
/// # Errors
/// The first one; what could be made is made.
pub fn attach() -> Result<(), MemoryError> {
    moving::attach(&mut state(), &Real)
}

/// What the driver's checkpoint has to carry.
pub fn left() -> Left {
    let state = state();
    let exported = state.virtual_memory.physicals();
    let exported = exported.filter(|(_, physical)| physical.is_left);
    let exported: u64 = exported.map(|(_, physical)| physical.size as u64).sum();
    let counted = &state.counted;
    Left {
        device: state.allocations.left()
            + exported
            + counted.arrays.total()
            + counted.variables.total()
            + counted.shared.total(),
        host: counted.host.total(),
    }
}

/// Whether a block's address is memory of the driver's own (`cuMemAlloc`) or of virtual memory.
pub fn is_ordinary(block: &Block) -> bool {
    matches!(block.place(), Place::Ordinary(_))
}
