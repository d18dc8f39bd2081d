//! The program's device memory, as a move sees it.

use std::sync::Arc;

pub use super::block::Block;
pub use super::moving::MemoryError;
pub use super::pins::{Pinned, Pushed};

use super::block::Place;
use super::context::Context;
use super::current;
use super::moving;
use super::pins::reachable_in;
use super::pools;
use super::state::state;
use crate::driver::vm::Real;

/// What the driver's checkpoint carries, in bytes as the program asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many contexts there are.
    pub contexts: u64,
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
    let physicals = physicals.filter_map(|(_, physical)| physical.block.as_ref());
    let mut blocks: Vec<Arc<Block>> = ordinary.chain(physicals).cloned().collect();
    blocks.retain(|block| reachable_in(block, &state).is_some());
    drop(state);
    blocks.sort_unstable_by_key(|block| block.id());
    blocks
}

/// All live contexts that the program has made or used, primary ones too.
pub fn contexts() -> Vec<Arc<Context>> {
    current::look_again();
    state().contexts.live().cloned().collect()
}

/// Takes all blocks' memory from the driver, and keeps their addresses. Goes on from where it stopped. Only with the gate closed,
/// and without a pin.
///
/// # Errors
/// The first one; what could be taken is taken. [`attach`] undoes it.
pub fn detach() -> Result<(), MemoryError> {
    pools::trim();
    moving::detach(&mut state(), &Real)
}

/// Gives all blocks memory again, at their addresses and with the access that they had. Goes on from where it stopped.
///
/// # Errors
/// The first one; what could be made is made.
pub fn attach() -> Result<(), MemoryError> {
    moving::attach(&mut state(), &Real)
}

/// What the driver's checkpoint has to carry. Asks no driver.
pub fn left() -> Left {
    let state = state();
    let (mut device, mut host) = (0, 0);
    let physicals = state.virtual_memory.physicals();
    for (_, physical) in physicals.filter(|(_, physical)| physical.block.is_none()) {
        *(if physical.is_devices() {
            &mut device
        } else {
            &mut host
        }) += physical.size as u64;
    }
    Left {
        contexts: state.contexts.live().count() as u64,
        device: device + state.allocations.left() + state.counted.device_bytes(),
        host: host + state.counted.host_bytes(),
    }
}

/// Whether a block's address is memory of the driver's own (`cuMemAlloc`) or of virtual memory.
pub fn is_ordinary(block: &Block) -> bool {
    matches!(block.place(), Place::Ordinary(_))
}
