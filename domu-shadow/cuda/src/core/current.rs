//! The context that a call is made in, and primary contexts that were made by ways of the driver's own.

use std::ffi::c_int;
use std::sync::Arc;

use super::context::Context;
use super::ending::end_context;
use super::obstacles;
use super::ordinary::Kind;
use super::state::{Locked, State, state};
use crate::abi::*;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Real, Vm, check};

/// The driver's name for this thread's context; 0: none.
pub fn handle() -> usize {
    let mut context = std::ptr::null_mut();
    // SAFETY: the pointer is this function's variable.
    let code = unsafe { driver().cuCtxGetCurrent(&raw mut context) };
    if code == CUDA_SUCCESS {
        context as usize
    } else {
        0
    }
}

/// Waits until nothing runs in a context, as the driver does before it frees.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` where this thread has none, the driver's.
pub fn synchronize(context: &Context) -> Answer<()> {
    if handle() == 0 {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    Real.enter(context.address())?;
    let done = Real.synchronize();
    Real.leave();
    done
}

fn device() -> Answer<CUdevice> {
    let mut device = 0;
    // SAFETY: the pointer is this function's variable.
    check(unsafe { driver().cuCtxGetDevice(&raw mut device) })?;
    Ok(device)
}

/// What the driver calls a context and never another one; 0 where it does not say.
///
/// # Errors
/// The driver's, for a context that is no more.
pub fn id(context: usize) -> Answer<u64> {
    let mut id = 0;
    // SAFETY: the pointer is this function's variable; the driver knows which contexts there are.
    match unsafe { driver().cuCtxGetId(context as CUcontext, &raw mut id) } {
        CUDA_SUCCESS => Ok(id),
        CUDA_ERROR_NOT_SUPPORTED => Ok(0),
        code => Err(code),
    }
}

/// This thread's context, which is noted where it has not been seen before.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` without one.
pub fn context(state: &mut Locked, handle: usize) -> Answer<Arc<Context>> {
    if let Some(known) = state.contexts.get(handle as CUcontext).cloned() {
        if known.id() == 0 || id(handle)? == known.id() {
            return Ok(known);
        }
        // Another one has its handle by now: a primary context after a reset that went past us.
        end_context(state, &known, &Real);
    }
    if handle == 0 {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    let device = device()?;
    obstacles::look_at(device);
    let id = id(handle).unwrap_or(0);
    Ok(state.contexts.note(handle as CUcontext, device, id))
}

fn device_count() -> CUdevice {
    let mut count = 0;
    // SAFETY: the pointer is this function's variable.
    let code = unsafe { driver().cuDeviceGetCount(&raw mut count) };
    if code == CUDA_SUCCESS { count } else { 0 }
}

/// Whether a device's primary context is there.
pub fn is_primary_active(device: CUdevice) -> bool {
    let (mut flags, mut active): (u32, c_int) = (0, 0);
    // SAFETY: the pointers are this function's variables.
    let code =
        unsafe { driver().cuDevicePrimaryCtxGetState(device, &raw mut flags, &raw mut active) };
    code == CUDA_SUCCESS && active != 0
}

/// The driver's primary context of a device that has one.
fn primary_handle(device: CUdevice) -> Answer<CUcontext> {
    let mut context = std::ptr::null_mut();
    // SAFETY: the pointer is this function's variable.
    check(unsafe { driver().cuDevicePrimaryCtxRetain(&raw mut context, device) })?;
    // SAFETY: no pointers; it gives back what was taken the line before.
    check(unsafe { driver().cuDevicePrimaryCtxRelease_v2(device) })?;
    Ok(context)
}

/// Notes the primary context of a device, if there is one: the runtime library has ways of its own to make it.
pub fn note_primary(device: CUdevice) {
    if state().contexts.primary(device).is_some() || !is_primary_active(device) {
        return;
    }
    match primary_handle(device) {
        Ok(handle) => {
            let id = id(handle as usize).unwrap_or(0);
            state().contexts.note_primary(handle, device, id);
        }
        Err(code) => log::warn!("the primary context of device {device}: CUDA error {code}"),
    }
}

/// Whether a context is no more, or another one has its handle.
fn is_over(context: &Context) -> bool {
    match id(context.handle() as usize) {
        Ok(id) => context.id() != 0 && id != context.id(),
        Err(code) => matches!(
            code,
            CUDA_ERROR_INVALID_CONTEXT | CUDA_ERROR_CONTEXT_IS_DESTROYED
        ),
    }
}

/// Finds contexts that have been made or destroyed by ways of the driver's own.
pub fn look_again() {
    let mut state = state();
    let known: Vec<_> = state.contexts.live().cloned().collect();
    let known = known
        .iter()
        .filter(|context| !context.is_pinned() && !context.is_ending());
    for context in known.filter(|context| is_over(context)) {
        log::info!("a CUDA context has gone with all that was in it");
        end_context(&mut state, context, &Real);
    }
    for context in state.contexts.live().cloned().collect::<Vec<_>>() {
        forget_unknown(&mut state, &context);
    }
    drop(state);
    (0..device_count()).for_each(note_primary);
}

/// Forgets memory of a context that the driver does not know any more: a primary context is the same one after a reset. One allocation
/// tells of all.
fn forget_unknown(state: &mut State, context: &Arc<Context>) {
    let is_plain = |state: &State, at: CUdeviceptr| {
        let allocation = state.allocations.get(at);
        allocation.is_some_and(|it| matches!(it.kind, Kind::Left))
    };
    let mut all = state.allocations.of_context(context);
    all.retain(|at| is_plain(state, *at));
    let Some(first) = all.first() else {
        return;
    };
    if Real.enter(context.handle() as usize).is_err() {
        return;
    }
    let is_unknown = |at: CUdeviceptr| match Real.around(at) {
        Ok((base, _)) => base != at,
        Err(code) => matches!(code, CUDA_ERROR_NOT_FOUND | CUDA_ERROR_INVALID_VALUE),
    };
    if is_unknown(*first) {
        all.retain(|at| is_unknown(*at));
        all.into_iter()
            .for_each(|at| drop(state.allocations.remove(at)));
    }
    Real.leave();
}
