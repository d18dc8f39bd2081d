//! Uses of ours that the program waits for: of memory, and of contexts.

use std::marker::PhantomData;
use std::sync::Arc;

use super::block::{Block, Place};
use super::context::Context;
use super::queries::Identity;
use super::state::{self, State, state};
use crate::abi::CUdeviceptr;
use crate::driver::vm::{Real, Vm};

/// While it lives, a block stays mapped and its context alive.
pub struct Pinned {
    block: Arc<Block>,
    context: Arc<Context>,
    address: CUdeviceptr,
}

impl Pinned {
    /// Where the block's device reads and writes all of its contents now.
    pub fn address(&self) -> CUdeviceptr {
        self.address
    }

    pub fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// The context in which it is reached.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let state = state();
        self.block.remove_pin();
        self.context.remove_pin();
        drop(state);
        state::unpinned();
    }
}

impl Block {
    /// Keeps it mapped and its context alive: a free or a destruction by the program waits meanwhile. `None`: the program has
    /// freed it or is about to, or the driver carries it from now on.
    pub fn pin(self: &Arc<Self>) -> Option<Pinned> {
        if self.is_awaited() {
            return None;
        }
        self.pin_for_contents()
    }

    /// The same for contents that come in: the program waits for these first.
    pub fn pin_for_contents(self: &Arc<Self>) -> Option<Pinned> {
        let ending = |_: &State| self.context().is_ending();
        let mut state = state().wait_unused(ending);
        if self.is_gone() {
            return None;
        }
        let context = reachable_in(self, &state).filter(|context| !context.is_leaving())?;
        let address = match self.place() {
            Place::Ordinary(at) => {
                record(&mut state, at, &context);
                at
            }
            Place::Physical(token) => match whole(&mut state, token, &context) {
                Some(at) => at,
                // Then the driver carries it.
                None => {
                    state.virtual_memory.leave(token);
                    return None;
                }
            },
        };
        state::pinning();
        self.add_pin();
        context.add_pin();
        Some(Pinned {
            block: Arc::clone(self),
            context,
            address,
        })
    }
}

/// A live context in which a block is reached.
pub(super) fn reachable_in(block: &Block, state: &State) -> Option<Arc<Context>> {
    let context = block.context();
    if !context.is_gone() {
        return Some(context);
    }
    // Memory of a context goes with it; physical memory belongs to the device.
    let Place::Physical(_) = block.place() else {
        return None;
    };
    let other = state.contexts.of_device(context.device())?;
    block.set_context(Arc::clone(other));
    Some(Arc::clone(other))
}

/// Asks the driver about memory while the program runs: at the stop there is less time.
fn record(state: &mut State, at: CUdeviceptr, context: &Context) {
    let allocation = state.allocations.get_mut(at);
    let ordinary = allocation.and_then(|allocation| allocation.ordinary_mut());
    let Some(ordinary) = ordinary.filter(|ordinary| ordinary.identity.is_none()) else {
        return;
    };
    if Real.enter(context.address()).is_ok() {
        ordinary.identity = Some(Identity::of(at, &Real));
        Real.leave();
    }
}

fn whole(state: &mut State, token: u64, context: &Context) -> Option<CUdeviceptr> {
    let memory = &mut state.virtual_memory;
    if let Some(at) = memory.seen_whole(token) {
        return Some(at);
    }
    Real.enter(context.address()).ok()?;
    let opened = memory.open_window(token, &Real);
    Real.leave();
    match opened {
        Ok(at) => Some(at),
        Err(code) => {
            log::warn!(
                "memory that the program has not mapped whole is out of reach: CUDA error {code}"
            );
            None
        }
    }
}

/// A context that is current on this thread until this is dropped.
pub struct Pushed {
    context: Arc<Context>,
    _not_send: PhantomData<*const ()>,
}

impl Context {
    /// Makes it current on this thread; its destruction waits meanwhile. `None`: the program has destroyed it.
    pub fn push(self: &Arc<Self>) -> Option<Pushed> {
        let state = state().wait_unused(|_| self.is_ending());
        if self.is_gone() || self.is_leaving() {
            return None;
        }
        state::pinning();
        self.add_pin();
        drop(state);
        let pushed = Pushed {
            context: Arc::clone(self),
            _not_send: PhantomData,
        };
        match Real.enter(self.address()) {
            Ok(()) => Some(pushed),
            Err(code) => {
                log::warn!("cuCtxPushCurrent failed with CUDA error {code}");
                pushed.unpin();
                std::mem::forget(pushed);
                None
            }
        }
    }
}

impl Pushed {
    fn unpin(&self) {
        let state = state();
        self.context.remove_pin();
        drop(state);
        state::unpinned();
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        Real.leave();
        self.unpin();
    }
}
