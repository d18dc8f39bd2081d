//! What ends with an allocation, and with a context.

use std::sync::Arc;

use super::capturing;
use super::context::Context;
use super::ordinary::{Allocation, Backing};
use super::state::{self, Retired, State, state};
use crate::abi::CUdeviceptr;
use crate::driver::vm::{Answer, Real, Vm};

/// Takes mapped memory of ours apart. Nothing uses it any more.
pub fn take_apart(at: CUdeviceptr, allocation: &Allocation, driver: &impl Vm) {
    let Some(ordinary) = allocation.ordinary() else {
        return;
    };
    let span = allocation.span();
    // Each step is worth making, whatever the one before said.
    let done = match ordinary.backing {
        Backing::Bare(handle) | Backing::Mapped(handle) => {
            let unmapped = driver.unmap(at, span);
            let released = driver.release(handle);
            unmapped.and(released).and(driver.unreserve(at, span))
        }
        Backing::Created(handle) => driver.release(handle).and(driver.unreserve(at, span)),
        Backing::Reserved => driver.unreserve(at, span),
    };
    if let Err(code) = done {
        log::warn!("{span} bytes of device memory at {at:#x} are not free: CUDA error {code}");
    }
}

impl Retired {
    /// Takes it apart. Nothing uses it any more.
    pub fn take_apart(&self, driver: &impl Vm) {
        if let Some(event) = self.event {
            driver.is_reached(event);
        }
        take_apart(self.at, &self.allocation, driver);
    }
}

/// Takes apart what the program has freed. Nothing runs that could use it.
pub fn take_apart_retired(state: &mut State, driver: &impl Vm) {
    let retired = std::mem::take(&mut state.retired);
    retired
        .iter()
        .for_each(|retired| retired.take_apart(driver));
}

/// What the program had in a context is gone.
pub fn end_context(state: &mut State, context: &Arc<Context>, driver: &impl Vm) {
    context.set_gone();
    for at in state.allocations.of_context(context) {
        if let Some(allocation) = state.allocations.remove(at) {
            take_apart(at, &allocation, driver);
        }
    }
    let is_of_it = |retired: &Retired| Arc::ptr_eq(&retired.allocation.context, context);
    let retired = std::mem::take(&mut state.retired);
    let (of_it, others): (Vec<_>, Vec<_>) = retired.into_iter().partition(is_of_it);
    state.retired = others;
    let of_it = of_it.iter();
    of_it.for_each(|retired| take_apart(retired.at, &retired.allocation, driver));
    capturing::end_context(context.address());
    state.counted.remove_context(context.address());
    state.contexts.remove(context);
}

/// The program asks the driver to end a context, which may go on: `is_over` is asked after a success. Waits for uses of ours, and there are
/// no new ones meanwhile.
///
/// # Errors
/// The driver's.
pub fn ending(
    context: Option<&Arc<Context>>,
    end: impl FnOnce() -> Answer<()>,
    is_over: impl FnOnce() -> bool,
) -> Answer<()> {
    let Some(context) = context else {
        return end();
    };
    let leaving = state();
    state::pinning();
    context.set_leaving(true);
    let waited = leaving.wait_unused(|_| context.is_pinned() || context.is_ending());
    context.set_ending(true);
    drop(waited);
    let ended = end();
    let is_over = ended.is_ok() && is_over();
    let mut state = state();
    context.set_ending(false);
    context.set_leaving(false);
    if is_over {
        end_context(&mut state, context, &Real);
    }
    drop(state);
    state::unpinned();
    ended
}
