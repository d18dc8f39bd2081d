//! `cuMemAlloc` and its kin: memory of ours where it has granules of its own, else the driver's.

use std::ffi::c_uint;
use std::sync::Arc;

use crate::abi::*;
use crate::core::capturing;
use crate::core::context::Context;
use crate::core::counted::Held;
use crate::core::ending::take_apart;
use crate::core::entry::own;
use crate::core::memory::MemoryError;
use crate::core::obstacles::MANAGED;
use crate::core::ordinary::{Allocation, has_own_granules};
use crate::core::room::{self, with_ours};
use crate::core::state::{Locked, Retired, state};
use crate::core::{current, moving, obstacles, retired};
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Real, Vm, check};

/// What the driver says to a call that makes or frees memory while streams are captured. To those that map memory it says nothing.
fn permitted() -> Answer<()> {
    if capturing::open() == 0 {
        return Ok(());
    }
    let mut mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    check(unsafe { driver().cuThreadExchangeStreamCaptureMode(&raw mut mode) })?;
    let of_thread = mode;
    check(unsafe { driver().cuThreadExchangeStreamCaptureMode(&raw mut mode) })?;
    if of_thread == CU_STREAM_CAPTURE_MODE_RELAXED {
        return Ok(());
    }
    let at = Real.alloc(1)?;
    Real.free(at)
}

/// Makes memory of ours in this thread's context. `None`: the driver is to make it itself, or to say why not.
fn map(bytes: usize) -> Answer<Option<CUdeviceptr>> {
    if !has_own_granules(bytes) {
        return Ok(None);
    }
    retired::free();
    let handle = current::handle();
    let mut locked = state();
    let Ok(context) = current::context(&mut locked, handle) else {
        return Ok(None);
    };
    drop(locked);
    permitted()?;
    let device = context.device();
    let Some(others) = Real.others_reaching(device) else {
        return Ok(None);
    };
    let properties = Real.like_ordinary(device);
    let make = || moving::make(bytes, Arc::clone(&context), &properties, &others, &Real);
    let is_full = |error: &MemoryError| {
        matches!(
            error,
            MemoryError::Driver {
                code: CUDA_ERROR_OUT_OF_MEMORY,
                ..
            }
        )
    };
    let made = match make() {
        Err(error) if is_full(&error) && room::give_way() => make(),
        made => made,
    };
    let (at, allocation) = match made {
        Ok(made) => made,
        Err(error) => {
            log::debug!("the driver makes it itself: {error}");
            return Ok(None);
        }
    };
    let mut locked = state();
    if context.is_gone() {
        drop(locked);
        take_apart(at, &allocation, &Real);
        return Ok(None);
    }
    locked.allocations.insert(at, allocation);
    Ok(Some(at))
}

/// The same for rows, with the bytes from one to the next: the driver knows best what fits, and says it of one row.
fn map_rows(width: usize, height: usize, element: c_uint) -> Answer<Option<(CUdeviceptr, usize)>> {
    if !width.checked_mul(height).is_some_and(has_own_granules) {
        return Ok(None);
    }
    let mut device = 0;
    check(unsafe { driver().cuCtxGetDevice(&raw mut device) })?;
    let known = state().pitches.get(&(device, width, element)).copied();
    let pitch = match known {
        Some(pitch) => pitch,
        None => {
            let (mut at, mut pitch) = (0, 0);
            let (to, row) = (&raw mut at, &raw mut pitch);
            with_ours(|| unsafe { driver().cuMemAllocPitch_v2(to, row, width, 1, element) })?;
            Real.free(at)?;
            state().pitches.insert((device, width, element), pitch);
            pitch
        }
    };
    let bytes = pitch.checked_mul(height);
    let ours = bytes.map_or(Ok(None), map)?;
    Ok(ours.map(|at| (at, pitch)))
}

/// The driver has made memory of its own in this thread's context.
fn made(at: CUdeviceptr, bytes: usize) {
    let handle = current::handle();
    let mut state = state();
    match current::context(&mut state, handle) {
        Ok(context) => state
            .allocations
            .insert(at, Allocation::left(bytes, context)),
        Err(code) => log::warn!("memory at {at:#x} is in no context: CUDA error {code}"),
    }
}

/// Waits until we do not use the memory that begins at `at`.
pub(super) fn unused(at: CUdeviceptr) -> Locked {
    state().wait_unpinned(|state| {
        let pinned = state.allocations.get(at).and_then(Allocation::pinned);
        Vec::from_iter(pinned)
    })
}

/// How memory of ours comes to rest.
pub(super) enum Rest {
    Now,
    /// When this event is reached.
    At(CUevent),
}

/// Frees memory, with `plain` where it is the driver's; memory of ours once `rest` says that nothing uses it any more.
pub(super) fn free(
    at: CUdeviceptr,
    plain: impl FnOnce() -> Answer<()>,
    rest: impl FnOnce(&Context) -> Answer<Rest>,
) -> Answer<()> {
    retired::free();
    let mut locked = unused(at);
    if locked.allocations.opened(at).is_some() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let Some(allocation) = locked.allocations.remove(at) else {
        let pooled = locked.counted.pooled.remove(at);
        let imported = locked.counted.held.remove((Held::PoolMemory, at));
        drop(locked);
        return plain().inspect_err(|_| {
            let counted = &mut state().counted;
            if let Some(pooled) = pooled {
                counted.pooled.put_back(at, pooled);
            }
            if let Some((context, hold)) = imported {
                counted.held.add((Held::PoolMemory, at), context, hold);
            }
        });
    };
    let is_ours = allocation.ordinary().is_some();
    if is_ours && capturing::open() > 0 {
        let event = None;
        locked.retired.push(Retired {
            at,
            allocation,
            event,
        });
        return Ok(());
    }
    drop(locked);
    let freed = match is_ours {
        true => rest(&allocation.context),
        false => plain().map(|()| Rest::Now),
    };
    match freed {
        Ok(Rest::Now) if is_ours => take_apart(at, &allocation, &Real),
        Ok(Rest::Now) => (),
        Ok(Rest::At(event)) => {
            let event = Some(event as usize);
            state().retired.push(Retired {
                at,
                allocation,
                event,
            });
        }
        Err(code) => {
            state().allocations.put_back(at, allocation);
            return Err(code);
        }
    }
    Ok(())
}

fn free_now(at: CUdeviceptr) -> Answer<()> {
    let is_ours = || {
        state()
            .allocations
            .get(at)
            .is_some_and(|it| it.ordinary().is_some())
    };
    if capturing::open() > 0 && is_ours() {
        permitted()?;
    }
    free(
        at,
        || Real.free(at),
        |context| current::synchronize(context).map(|()| Rest::Now),
    )
}

own! {
    fn cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize) driver {
        if !at.is_null()
            && let Some(ours) = map(bytes)?
        {
            unsafe { at.write(ours) };
            return Ok(());
        }
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
        if !at.is_null()
            && !pitch.is_null()
            && let Some((ours, row)) = map_rows(width, height, element)?
        {
            unsafe { at.write(ours) };
            unsafe { pitch.write(row) };
            return Ok(());
        }
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
