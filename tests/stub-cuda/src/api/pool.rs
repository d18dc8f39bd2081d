//! Memory in the order of streams.

use std::ffi::{c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::context;
use crate::device;
use crate::ffi::{get, list, put};
use crate::memory::{pool, space};
use crate::work::Work;

fn allocate(
    default: Default,
    out: *mut CUdeviceptr,
    size: usize,
    pool: Option<Handle>,
    stream: Handle,
) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    if out.is_null() || size == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    if crate::lock::lock(&stream.capture).is_some() {
        return Err(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    let pool = pool::get(pool.unwrap_or_else(|| pool::current_of(context.device)))?;
    put(out, pool.allocate(context.handle, size as u64)?)
}

fn located(location: *const CUmemLocation) -> Outcome<usize> {
    let location = get(location)?;
    match location.kind {
        CU_MEM_LOCATION_TYPE_DEVICE => Ok(device::get(location.id)?.ordinal),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

entry_points! {
    fn cuMemAllocAsync | cuMemAllocAsync_ptsz (out: *mut CUdeviceptr, size: usize, stream: Handle) |default| {
        allocate(default, out, size, None, stream)
    }

    fn cuMemAllocFromPoolAsync | cuMemAllocFromPoolAsync_ptsz (out: *mut CUdeviceptr, size: usize, pool: Handle, stream: Handle) |default| {
        allocate(default, out, size, Some(pool), stream)
    }

    fn cuMemFreeAsync | cuMemFreeAsync_ptsz (at: CUdeviceptr, stream: Handle) |default| {
        let (context, stream) = context::of_stream(default, stream)?;
        let found = space::find(at).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        match found.kind {
            space::Kind::Pool(_) if found.start == at => context::enqueue(&context, &stream, Work::FreePool(at)),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuDeviceGetDefaultMemPool(out: *mut Handle, dev: CUdevice) {
        put(out, pool::default_of(device::get(dev)?.ordinal))
    }

    fn cuDeviceGetMemPool(out: *mut Handle, dev: CUdevice) {
        put(out, pool::current_of(device::get(dev)?.ordinal))
    }

    fn cuDeviceSetMemPool(dev: CUdevice, pool: Handle) {
        pool::set_current(device::get(dev)?.ordinal, pool)
    }

    fn cuMemGetDefaultMemPool(out: *mut Handle, location: *const CUmemLocation, kind: c_uint) {
        let _ = kind;
        put(out, pool::default_of(located(location)?))
    }

    fn cuMemGetMemPool(out: *mut Handle, location: *const CUmemLocation, kind: c_uint) {
        let _ = kind;
        put(out, pool::current_of(located(location)?))
    }

    fn cuMemSetMemPool(location: *const CUmemLocation, kind: c_uint, pool: Handle) {
        let _ = kind;
        pool::set_current(located(location)?, pool)
    }

    fn cuMemPoolCreate(out: *mut Handle, properties: *const CUmemPoolProps) {
        let properties = get(properties)?;
        if properties.kind != CU_MEM_ALLOCATION_TYPE_PINNED {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, pool::create(located(&raw const properties.location)?))
    }

    fn cuMemPoolDestroy(pool: Handle) {
        pool::destroy(pool)
    }

    fn cuMemPoolTrimTo(pool: Handle, keep: usize) {
        let _ = keep;
        pool::get(pool).map(drop)
    }

    fn cuMemPoolGetAttribute(pool: Handle, attribute: c_uint, value: *mut c_void) {
        let found = pool::get(pool)?.attribute(attribute);
        match pool::is_narrow(attribute) {
            true => put(value.cast(), found as c_int),
            false => put(value.cast(), found),
        }
    }

    fn cuMemPoolSetAttribute(pool: Handle, attribute: c_uint, value: *const c_void) {
        let wanted = match pool::is_narrow(attribute) {
            true => get(value.cast::<c_uint>())?.into(),
            false => get(value.cast::<u64>())?,
        };
        pool::get(pool)?.set_attribute(attribute, wanted)
    }

    fn cuMemPoolSetAccess(pool: Handle, wanted: *const CUmemAccessDesc, count: usize) {
        let pool = pool::get(pool)?;
        for one in list(wanted, count)? {
            if !matches!(one.flags, 0 | 1 | 3) {
                return Err(CUDA_ERROR_INVALID_VALUE);
            }
            pool.set_access(located(&raw const one.location)?, one.flags as u8)?;
        }
        Ok(())
    }

    fn cuMemPoolGetAccess(flags: *mut c_uint, pool: Handle, location: *const CUmemLocation) {
        put(flags, pool::get(pool)?.access(located(location)?).into())
    }
}
