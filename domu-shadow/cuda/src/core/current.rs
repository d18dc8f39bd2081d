//! The context that a call is made in, and primary contexts that were made by ways of the driver's own.

use std::ffi::c_int;
use std::sync::Arc;

use super::context::Context;
use super::obstacles;
use super::state::{Locked, state};
use crate::abi::*;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, check};

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

fn device() -> Answer<CUdevice> {
    let mut device = 0;
    // SAFETY: the pointer is this function's variable.
    check(unsafe { driver().cuCtxGetDevice(&raw mut device) })?;
    Ok(device)
}

/// This thread's context, which is noted where it has not been seen before.
///
/// # Errors
/// `CUDA_ERROR_INVALID_CONTEXT` without one.
pub fn context(state: &mut Locked, handle: usize) -> Answer<Arc<Context>> {
    let handle = handle as CUcontext;
    if let Some(known) = state.contexts.get(handle) {
        return Ok(Arc::clone(known));
    }
    if handle.is_null() {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    let device = device()?;
    obstacles::look_at(device);
    Ok(state.contexts.note(handle, device))
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
        Ok(handle) => state().contexts.note_primary(handle, device),
        Err(code) => log::warn!("the primary context of device {device}: CUDA error {code}"),
    }
}

/// [`note_primary`] of all devices.
pub fn note_primaries() {
    (0..device_count()).for_each(note_primary);
}
