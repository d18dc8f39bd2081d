//! Contexts.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use crate::abi::*;
use crate::call::entry_points;
use crate::capture;
use crate::context::{self, CONTEXTS, Context};
use crate::device;
use crate::event::{self, Recorded};
use crate::ffi::{put, put_if};
use crate::lock::lock;
use crate::memory::space;
use crate::table;
use crate::work::Work;

const MAX_LIMIT: c_uint = 0xb;

fn create(out: *mut Handle, flags: c_uint, dev: CUdevice) -> Outcome<()> {
    let device = device::get(dev)?;
    if out.is_null() || flags & !0xff != 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let made = Context::create(table::new_handle(), device.ordinal, flags, false)?;
    context::push(made.handle);
    put(out, made.handle)
}

fn destroy(handle: Handle) -> Outcome<()> {
    let context = CONTEXTS.get(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
    if context.is_primary {
        return Err(CUDA_ERROR_INVALID_CONTEXT);
    }
    if context::current_handle() == handle {
        context::pop();
    }
    context.destroy();
    Ok(())
}

/// The given context, or the current one for NULL.
fn given(handle: Handle) -> Outcome<std::sync::Arc<Context>> {
    match handle {
        0 => context::current_any(),
        _ => CONTEXTS.get(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT),
    }
}

fn push(handle: Handle) -> Outcome<()> {
    CONTEXTS.get(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
    context::push(handle);
    Ok(())
}

fn pop(out: *mut Handle) -> Outcome<()> {
    put_if(out, context::pop().ok_or(CUDA_ERROR_INVALID_CONTEXT)?);
    Ok(())
}

fn synchronize(context: &Context) -> Outcome<()> {
    context.fault.check()?;
    capture::unsafe_call()?;
    context.synchronize()
}

entry_points! {
    fn cuCtxCreate(out: *mut Handle, flags: c_uint, dev: CUdevice) {
        create(out, flags, dev)
    }

    fn cuCtxCreate_v2(out: *mut Handle, flags: c_uint, dev: CUdevice) {
        create(out, flags, dev)
    }

    fn cuCtxCreate_v3(out: *mut Handle, affinity: *mut c_void, count: c_int, flags: c_uint, dev: CUdevice) {
        match affinity.is_null() && count == 0 {
            true => create(out, flags, dev),
            false => Err(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY),
        }
    }

    fn cuCtxCreate_v4(out: *mut Handle, parameters: *const c_void, flags: c_uint, dev: CUdevice) {
        let _ = parameters;
        create(out, flags, dev)
    }

    fn cuCtxDestroy(handle: Handle) {
        destroy(handle)
    }

    fn cuCtxDestroy_v2(handle: Handle) {
        destroy(handle)
    }

    fn cuCtxDetach(handle: Handle) {
        destroy(handle)
    }

    fn cuCtxGetCurrent(out: *mut Handle) {
        put(out, context::current_handle())
    }

    fn cuCtxSetCurrent(handle: Handle) {
        if handle != 0 {
            CONTEXTS.get(handle).ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
        }
        context::set(handle);
        Ok(())
    }

    fn cuCtxPushCurrent(handle: Handle) {
        push(handle)
    }

    fn cuCtxPushCurrent_v2(handle: Handle) {
        push(handle)
    }

    fn cuCtxPopCurrent(out: *mut Handle) {
        pop(out)
    }

    fn cuCtxPopCurrent_v2(out: *mut Handle) {
        pop(out)
    }

    fn cuCtxGetDevice(dev: *mut CUdevice) {
        put(dev, context::current_any()?.device as CUdevice)
    }

    fn cuCtxGetDevice_v2(dev: *mut CUdevice, handle: Handle) {
        put(dev, given(handle)?.device as CUdevice)
    }

    fn cuCtxGetFlags(flags: *mut c_uint) {
        put(flags, *lock(&context::current_any()?.flags))
    }

    fn cuCtxSetFlags(flags: c_uint) {
        *lock(&context::current_any()?.flags) = flags;
        Ok(())
    }

    fn cuCtxGetId(handle: Handle, id: *mut c_ulonglong) {
        put(id, given(handle)?.id)
    }

    fn cuCtxGetApiVersion(handle: Handle, version: *mut c_uint) {
        given(handle)?;
        put(version, 3020)
    }

    fn cuCtxSynchronize() {
        synchronize(&*context::current_any()?)
    }

    fn cuCtxSynchronize_v2(handle: Handle) {
        synchronize(&*given(handle)?)
    }

    fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        context::current_any()?;
        put_if(least, 0);
        put_if(greatest, -5);
        Ok(())
    }

    fn cuCtxGetLimit(value: *mut usize, limit: c_uint) {
        let context = context::current_any()?;
        if limit >= MAX_LIMIT {
            return Err(CUDA_ERROR_UNSUPPORTED_LIMIT);
        }
        let default = match limit {
            0 => 1024,
            1 => 7 << 20,
            2 => 8 << 20,
            5 => 64,
            _ => 0,
        };
        put(value, lock(&context.limits).get(&limit).copied().unwrap_or(default))
    }

    fn cuCtxSetLimit(limit: c_uint, value: usize) {
        let context = context::current_any()?;
        if limit >= MAX_LIMIT {
            return Err(CUDA_ERROR_UNSUPPORTED_LIMIT);
        }
        lock(&context.limits).insert(limit, value);
        Ok(())
    }

    fn cuCtxGetCacheConfig(config: *mut c_uint) {
        context::current_any()?;
        put(config, 0)
    }

    fn cuCtxSetCacheConfig(config: c_uint) {
        let _ = config;
        context::current_any().map(drop)
    }

    fn cuCtxGetSharedMemConfig(config: *mut c_uint) {
        context::current_any()?;
        put(config, 1)
    }

    fn cuCtxSetSharedMemConfig(config: c_uint) {
        let _ = config;
        context::current_any().map(drop)
    }

    fn cuCtxResetPersistingL2Cache() {
        context::current_any().map(drop)
    }

    fn cuCtxEnablePeerAccess(peer: Handle, flags: c_uint) {
        let context = context::current()?;
        let peer = CONTEXTS.get(peer).ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
        if flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if peer.device == context.device {
            return Err(CUDA_ERROR_INVALID_DEVICE);
        }
        match lock(&context.peers).insert(peer.handle) {
            true => {
                space::set_peer(context.device, peer.device, true);
                Ok(())
            }
            false => Err(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED),
        }
    }

    fn cuCtxDisablePeerAccess(peer: Handle) {
        let context = context::current()?;
        if !lock(&context.peers).remove(&peer) {
            return Err(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
        }
        if let Some(peer) = CONTEXTS.get(peer) {
            space::set_peer(context.device, peer.device, false);
        }
        Ok(())
    }

    fn cuCtxRecordEvent(handle: Handle, event: Handle) {
        let context = given(handle)?;
        context.fault.check()?;
        let event = event::get(event)?;
        let waits = context.streams().iter().filter_map(|stream| stream.last()).collect();
        let fence = context.submit(&context.stream(0)?, waits, Work::Nothing);
        *lock(&event.recorded) = Recorded::On(fence);
        Ok(())
    }

    fn cuCtxWaitEvent(handle: Handle, event: Handle) {
        let context = given(handle)?;
        context.fault.check()?;
        if let Some(fence) = event::get(event)?.fence()? {
            for stream in context.streams() {
                context.submit(&stream, vec![fence.clone()], Work::Nothing);
            }
        }
        Ok(())
    }
}
