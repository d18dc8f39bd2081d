//! Contexts: made, retained, destroyed; and who reaches whose memory.
//!
//! Those that are only made current cost nothing: they are noted when memory is made in them.

use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;

use runtime::residency;

use crate::abi::*;
use crate::core::context::Context;
use crate::core::entry::own;
use crate::core::room::with_ours;
use crate::core::state::state;
use crate::core::{contents, current, ending, obstacles};
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Real, check};

/// The driver has made a context: what was known by that handle is no more.
fn made(context: *mut CUcontext, device: CUdevice) {
    let handle = unsafe { context.read() };
    let mut state = state();
    if let Some(old) = state.contexts.get(handle).cloned() {
        ending::end_context(&mut state, &old, &Real);
    }
    state
        .contexts
        .note(handle, device, current::id(handle as usize).unwrap_or(0));
    drop(state);
    obstacles::look_at(device);
}

/// `CUctxCreateParams` is two pointers and a number between them; the second pointer is for graphics.
fn is_for_graphics(parameters: *const c_void) -> bool {
    let words: *const *const c_void = parameters.cast();
    !words.is_null() && !unsafe { words.add(2).read() }.is_null()
}

fn known(handle: CUcontext) -> Option<Arc<Context>> {
    state().contexts.get(handle).cloned()
}

/// Memory of `cuMemCreate` outlives the context in which we reach it: its contents come before.
fn await_contents() {
    let has_physical = state().virtual_memory.physicals().next().is_some();
    if has_physical && residency::is_arriving_now() {
        contents::wait();
    }
}

fn destroy(context: CUcontext, end: impl FnOnce() -> Answer<()>) -> Answer<()> {
    await_contents();
    ending::ending(known(context).as_ref(), end, || true)
}

fn end_primary(device: CUdevice, end: impl FnOnce() -> Answer<()>) -> Answer<()> {
    if !state().contexts.released(device) {
        return end();
    }
    if residency::is_arriving_now() {
        contents::wait();
    }
    current::note_primary(device);
    let primary = state().contexts.primary(device).cloned();
    ending::ending(primary.as_ref(), end, || {
        !current::is_primary_active(device)
    })
}

fn reset_primary(device: CUdevice, end: impl FnOnce() -> Answer<()>) -> Answer<()> {
    await_contents();
    current::note_primary(device);
    let primary = state().contexts.primary(device).cloned();
    ending::ending(primary.as_ref(), end, || true)
}

own! {
    fn cuCtxCreate(context: *mut CUcontext, flags: c_uint, device: CUdevice) driver {
        with_ours(|| unsafe { driver().cuCtxCreate(context, flags, device) })?;
        made(context, device);
        Ok(())
    }

    fn cuCtxCreate_v2(context: *mut CUcontext, flags: c_uint, device: CUdevice) driver {
        with_ours(|| unsafe { driver().cuCtxCreate_v2(context, flags, device) })?;
        made(context, device);
        Ok(())
    }

    fn cuCtxCreate_v3(
        context: *mut CUcontext,
        affinities: *mut c_void,
        count: c_int,
        flags: c_uint,
        device: CUdevice,
    ) driver {
        with_ours(|| unsafe { driver().cuCtxCreate_v3(context, affinities, count, flags, device) })?;
        made(context, device);
        Ok(())
    }

    fn cuCtxCreate_v4(
        context: *mut CUcontext,
        parameters: *mut c_void,
        flags: c_uint,
        device: CUdevice,
    ) driver {
        if is_for_graphics(parameters) {
            runtime::blocked::block("a context that works for a graphics API (cuCtxCreate_v4)");
        }
        with_ours(|| unsafe { driver().cuCtxCreate_v4(context, parameters, flags, device) })?;
        made(context, device);
        Ok(())
    }

    fn cuCtxDestroy(context: CUcontext) driver {
        destroy(context, || check(unsafe { driver().cuCtxDestroy(context) }))
    }

    fn cuCtxDestroy_v2(context: CUcontext) driver {
        destroy(context, || check(unsafe { driver().cuCtxDestroy_v2(context) }))
    }

    fn cuCtxAttach(context: *mut CUcontext, flags: c_uint) driver {
        check(unsafe { driver().cuCtxAttach(context, flags) })?;
        if let Some(context) = known(unsafe { context.read() }) {
            context.attach();
        }
        Ok(())
    }

    fn cuCtxDetach(context: CUcontext) driver {
        await_contents();
        let known = known(context);
        let is_last = known.as_ref().is_none_or(|context| context.detach());
        let end = || check(unsafe { driver().cuCtxDetach(context) });
        ending::ending(known.as_ref(), end, || is_last)
    }

    fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice) driver {
        with_ours(|| unsafe { driver().cuDevicePrimaryCtxRetain(context, device) })?;
        let handle = unsafe { context.read() };
        let id = current::id(handle as usize).unwrap_or(0);
        let mut state = state();
        state.contexts.note_primary(handle, device, id);
        state.contexts.retained(device);
        drop(state);
        obstacles::look_at(device);
        Ok(())
    }

    fn cuDevicePrimaryCtxRelease(device: CUdevice) driver {
        end_primary(device, || {
            check(unsafe { driver().cuDevicePrimaryCtxRelease(device) })
        })
    }

    fn cuDevicePrimaryCtxRelease_v2(device: CUdevice) driver {
        end_primary(device, || {
            check(unsafe { driver().cuDevicePrimaryCtxRelease_v2(device) })
        })
    }

    fn cuDevicePrimaryCtxReset(device: CUdevice) driver {
        reset_primary(device, || {
            check(unsafe { driver().cuDevicePrimaryCtxReset(device) })
        })
    }

    fn cuDevicePrimaryCtxReset_v2(device: CUdevice) driver {
        reset_primary(device, || {
            check(unsafe { driver().cuDevicePrimaryCtxReset_v2(device) })
        })
    }
}
