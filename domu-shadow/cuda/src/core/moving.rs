//! Memory goes, and comes back at its addresses.
//!
//! Each step changes what is known of the memory as soon as the driver has made it, so that either way can go on from anywhere.
//!
//! | room | purpose |
//! |---|---|
//! | `step` | one step, and how it fails |
//! | `ordinary` | memory of `cuMemAlloc` |
//! | `physical` | memory of `cuMemCreate` |

mod ordinary;
mod physical;
mod step;
#[cfg(test)]
mod tests;

pub use ordinary::{adopt, make};
pub use step::MemoryError;

use std::cmp::Reverse;

use super::ending::take_apart_retired;
use super::state::State;
use crate::abi::CUdeviceptr;
use crate::driver::vm::Vm;

/// Keeps the first error, says the others.
#[derive(Default)]
struct Errors(Option<MemoryError>);

impl Errors {
    fn note(&mut self, result: Result<(), MemoryError>) {
        if let Err(error) = result {
            log::error!("{error}");
            self.0.get_or_insert(error);
        }
    }

    fn first(self) -> Result<(), MemoryError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// One of the two kinds of memory.
#[derive(Clone, Copy)]
enum Piece {
    Ordinary(CUdeviceptr),
    Physical(u64),
}

/// All that moves, the big ones first.
fn pieces(state: &State) -> Vec<Piece> {
    let ordinary = state.allocations.iter().filter_map(|(at, allocation)| {
        allocation.ordinary()?;
        Some((allocation.asked, Piece::Ordinary(at)))
    });
    let physicals = state.virtual_memory.physicals();
    let physicals = physicals
        .filter(|(_, physical)| physical.block.is_some())
        .map(|(token, physical)| (physical.size, Piece::Physical(token)));
    let mut pieces: Vec<_> = ordinary.chain(physicals).collect();
    pieces.sort_by_key(|(size, _)| Reverse(*size));
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn is_pinned(state: &State) -> bool {
    let ordinary = state.allocations.iter();
    let mut ordinary = ordinary.filter_map(|(_, allocation)| allocation.ordinary());
    let mut physicals = state.virtual_memory.physicals();
    ordinary.any(|ordinary| ordinary.block.is_pinned())
        || physicals.any(|(_, physical)| physical.pinned().next().is_some())
}

/// Takes the memory away.
///
/// # Errors
/// The first one.
pub fn detach(state: &mut State, driver: &impl Vm) -> Result<(), MemoryError> {
    if is_pinned(state) {
        return Err(MemoryError::InUse);
    }
    take_apart_retired(state, driver);
    let mut errors = Errors::default();
    for piece in pieces(state) {
        errors.note(match piece {
            Piece::Ordinary(at) => ordinary::detach(state, at, driver),
            Piece::Physical(token) => physical::detach(state, token, driver),
        });
    }
    errors.first()
}

/// Brings it back.
///
/// # Errors
/// The first one.
pub fn attach(state: &mut State, driver: &impl Vm) -> Result<(), MemoryError> {
    let mut errors = Errors::default();
    for piece in pieces(state) {
        errors.note(match piece {
            Piece::Ordinary(at) => ordinary::attach(state, at, driver),
            Piece::Physical(token) => physical::attach(state, token, driver),
        });
    }
    errors.first()
}
