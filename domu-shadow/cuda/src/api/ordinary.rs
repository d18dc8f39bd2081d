//! `cuMemAlloc` and its kin.

use std::ffi::c_uint;

use crate::abi::*;
use crate::core::answers::has_moved;
use crate::core::capturing;
use crate::core::context::Context;
use crate::core::ending::take_apart;
use crate::core::entry::own;
use crate::core::obstacles::MANAGED;
use crate::core::ordinary::Allocation;
use crate::core::room::with_ours;
use crate::core::state::{Locked, state};
use crate::core::{current, obstacles};
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Real, Vm, check};

/// The driver has made memory in this thread's context.
fn made(at: CUdeviceptr, bytes: usize) {
    let handle = current::handle();
    let mut state = state();
    match current::context(&mut state, handle) {
        Ok(context) => state
            .allocations
            .insert(at, Allocation::new(at, bytes, context)),
        Err(code) => log::warn!("memory at {at:#x} is in no context: CUDA error {code}"),
    }
}

/// Waits until we do not use the memory that begins at `at`.
pub(super) fn unused(at: CUdeviceptr) -> Locked {
    state().wait_unpinned(|state| {
        let ordinary = state.allocations.get(at).and_then(Allocation::ordinary);
        ordinary.is_some_and(|ordinary| ordinary.block.is_pinned())
    })
}

/// Frees memory, with `plain` where it is the driver's; memory of ours once `rest` says that nothing uses it any more.
pub(super) fn free(
    at: CUdeviceptr,
    plain: impl FnOnce() -> Answer<()>,
    rest: impl FnOnce(&Context) -> Answer<()>,
) -> Answer<()> {
    if has_moved() && capturing::open() == 0 {
        free_retired();
    }
    let mut locked = unused(at);
    let Some(allocation) = locked.allocations.remove(at) else {
        let pooled = locked.counted.pooled.remove(at);
        drop(locked);
        return plain().inspect_err(|_| {
            if let Some(pooled) = pooled {
                state().counted.pooled.put_back(at, pooled);
            }
        });
    };
    let is_ours = allocation.ordinary().is_some_and(|o| o.is_converted());
    if is_ours && capturing::open() > 0 {
        locked.retired.push((at, allocation));
        return Ok(());
    }
    drop(locked);
    let freed = if is_ours {
        rest(&allocation.context)
    } else {
        plain()
    };
    match freed {
        Ok(()) if is_ours => take_apart(at, &allocation, &Real),
        Ok(()) => (),
        Err(_) => state().allocations.put_back(at, allocation),
    }
    freed
}

/// What was freed while a stream was being captured, when none is any more.
fn free_retired() {
    let retired = std::mem::take(&mut state().retired);
    for (at, allocation) in retired {
        match synchronize(&allocation.context) {
            Ok(()) => take_apart(at, &allocation, &Real),
            Err(_) => state().retired.push((at, allocation)),
        }
    }
}

/// As the driver does before it frees.
fn synchronize(context: &Context) -> Answer<()> {
    if current::handle() == 0 {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    Real.enter(context.handle() as usize)?;
    let done = Real.synchronize();
    Real.leave();
    done
}

fn free_now(at: CUdeviceptr) -> Answer<()> {
    free(at, || Real.free(at), synchronize)
}

own! {
    fn cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize) driver {
        with_ours(|| unsafe { driver().cuMemAlloc_v2(at, bytes) })?;
        made(unsafe { at.read() }, bytes);
        Ok(())
    }

    fn cuMemAlloc(at: *mut c_uint, bytes: c_uint) driver {
        with_ours(|| unsafe { driver().cuMemAlloc(at, bytes) })?;
        made(unsafe { at.read() }.into(), bytes as usize);
        Ok(())
    }

    fn cuMemAllocPitch_v2(
        at: *mut CUdeviceptr,
        pitch: *mut usize,
        width: usize,
        height: usize,
        element: c_uint,
    ) driver {
        with_ours(|| unsafe { driver().cuMemAllocPitch_v2(at, pitch, width, height, element) })?;
        made(unsafe { at.read() }, unsafe { pitch.read() } * height);
        Ok(())
    }

    fn cuMemAllocPitch(
        at: *mut c_uint,
        pitch: *mut c_uint,
        width: c_uint,
        height: c_uint,
        element: c_uint,
    ) driver {
        with_ours(|| unsafe { driver().cuMemAllocPitch(at, pitch, width, height, element) })?;
        let bytes = unsafe { pitch.read() } as usize * height as usize;
        made(unsafe { at.read() }.into(), bytes);
        Ok(())
    }

    fn cuMemFree_v2(at: CUdeviceptr) driver {
        free_now(at)
    }

    fn cuMemFree(at: c_uint) driver {
        free_now(at.into())
    }

    /// The hold comes first: a move looks again once no call is inside.
    fn cuMemAllocManaged(at: *mut CUdeviceptr, bytes: usize, flags: c_uint) driver {
        let hold = MANAGED.hold();
        check(unsafe { driver().cuMemAllocManaged(at, bytes, flags) })?;
        let at = unsafe { at.read() };
        let handle = current::handle();
        let mut state = state();
        match current::context(&mut state, handle) {
            Ok(context) => state
                .allocations
                .insert(at, Allocation::managed(bytes, context, hold)),
            Err(_) => obstacles::keep_for_ever(hold),
        }
        Ok(())
    }
}
