//! Device memory of contexts, and host memory.

use std::ffi::{c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::entry_points;
use crate::capture;
use crate::context;
use crate::device;
use crate::ffi::put;
use crate::memory::space::{self, Kind};
use crate::memory::{host, ordinary};
use crate::options::in_force;

const PITCH: usize = 512;

fn allocate(size: usize) -> Outcome<u64> {
    let context = context::current()?;
    capture::unsafe_call()?;
    ordinary::allocate(context.handle, context.device, size as u64, Kind::Device)
}

/// Memory of contexts, of any of them; what is under way there ends first.
fn free(address: CUdeviceptr) -> Outcome<()> {
    if address == 0 {
        return Ok(());
    }
    let current = context::current()?;
    capture::unsafe_call()?;
    let mapping = space::find(address).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let owner = context::CONTEXTS.get(mapping.context).unwrap_or(current);
    owner.synchronize()?;
    ordinary::free(address, |kind| {
        matches!(kind, Kind::Device | Kind::Managed | Kind::Pool(_))
    })
}

fn allocate_host(out: *mut *mut c_void, size: usize, flags: c_uint) -> Outcome<()> {
    let context = context::current()?;
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    capture::unsafe_call()?;
    let address = host::allocate(context.handle, context.device, size as u64, flags)?;
    put(out, std::ptr::with_exposed_provenance_mut(address as usize))
}

fn allocate_pitch(
    out: *mut CUdeviceptr,
    pitch: *mut usize,
    width: usize,
    height: usize,
    element: c_uint,
) -> Outcome<()> {
    if out.is_null()
        || pitch.is_null()
        || width == 0
        || height == 0
        || !matches!(element, 4 | 8 | 16)
    {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let line = width
        .checked_next_multiple_of(PITCH)
        .ok_or(CUDA_ERROR_INVALID_VALUE)?;
    put(
        out,
        allocate(line.checked_mul(height).ok_or(CUDA_ERROR_INVALID_VALUE)?)?,
    )?;
    put(pitch, line)
}

fn device_pointer(out: *mut CUdeviceptr, at: *const c_void, flags: c_uint) -> Outcome<()> {
    context::current()?;
    let address = at.expose_provenance() as u64;
    let mapping =
        space::find(address).filter(|found| matches!(found.kind, Kind::Host | Kind::Registered));
    if flags != 0 || mapping.is_none() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(out, address)
}

fn range_of(at: CUdeviceptr) -> Outcome<(CUdeviceptr, usize)> {
    context::current()?;
    let mapping = space::find(at).ok_or(CUDA_ERROR_NOT_FOUND)?;
    Ok((mapping.start, mapping.size as usize))
}

fn free_and_total() -> Outcome<(u64, u64)> {
    let context = context::current()?;
    let total = in_force().memory;
    Ok((total - device::all()[context.device].used(), total))
}

fn host_mapping(at: *const c_void) -> Outcome<space::Mapping> {
    space::find(at.expose_provenance() as u64)
        .filter(|mapping| matches!(mapping.kind, Kind::Host | Kind::Registered))
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}

fn register(at: *mut c_void, size: usize, flags: c_uint) -> Outcome<()> {
    let context = context::current()?;
    let address = at.expose_provenance() as u64;
    host::register(context.handle, context.device, address, size as u64, flags)
}

entry_points! {
    fn cuMemAlloc(out: *mut c_uint, size: c_uint) {
        let _ = (out, size);
        Err(CUDA_ERROR_NOT_SUPPORTED)
    }

    fn cuMemAlloc_v2(out: *mut CUdeviceptr, size: usize) {
        if out.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, allocate(size)?)
    }

    fn cuMemAllocPitch_v2(out: *mut CUdeviceptr, pitch: *mut usize, width: usize, height: usize, element: c_uint) {
        allocate_pitch(out, pitch, width, height, element)
    }

    fn cuMemAllocManaged(out: *mut CUdeviceptr, size: usize, flags: c_uint) {
        let context = context::current()?;
        if out.is_null() || !matches!(flags, 1 | 2) {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        capture::unsafe_call()?;
        put(out, ordinary::allocate_managed(context.handle, context.device, size as u64, flags)?)
    }

    fn cuMemFree_v2(at: CUdeviceptr) {
        free(at)
    }

    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let (left, all) = free_and_total()?;
        put(free, left as usize)?;
        put(total, all as usize)
    }

    fn cuMemGetAddressRange_v2(base: *mut CUdeviceptr, size: *mut usize, at: CUdeviceptr) {
        let (start, length) = range_of(at)?;
        crate::ffi::put_if(base, start);
        crate::ffi::put_if(size, length);
        Ok(())
    }

    fn cuMemAllocHost_v2(out: *mut *mut c_void, size: usize) {
        allocate_host(out, size, 0)
    }

    fn cuMemAllocHost(out: *mut *mut c_void, size: c_uint) {
        allocate_host(out, size as usize, 0)
    }

    fn cuMemHostAlloc(out: *mut *mut c_void, size: usize, flags: c_uint) {
        allocate_host(out, size, flags)
    }

    fn cuMemFreeHost(at: *mut c_void) {
        let context = context::current()?;
        capture::unsafe_call()?;
        context.synchronize()?;
        host::free(at.expose_provenance() as u64)
    }

    fn cuMemHostGetDevicePointer_v2(out: *mut CUdeviceptr, at: *mut c_void, flags: c_uint) {
        device_pointer(out, at, flags)
    }

    fn cuMemHostGetFlags(flags: *mut c_uint, at: *mut c_void) {
        put(flags, host_mapping(at)?.flags)
    }

    fn cuMemHostRegister(at: *mut c_void, size: usize, flags: c_uint) {
        register(at, size, flags)
    }

    fn cuMemHostRegister_v2(at: *mut c_void, size: usize, flags: c_uint) {
        register(at, size, flags)
    }

    fn cuMemHostUnregister(at: *mut c_void) {
        let context = context::current()?;
        context.synchronize()?;
        host::unregister(at.expose_provenance() as u64)
    }

    fn cuMemAdvise(at: CUdeviceptr, size: usize, advice: c_uint, dev: c_int) {
        let _ = (advice, dev);
        is_managed(at, size)
    }

    fn cuMemAdvise_v2(at: CUdeviceptr, size: usize, advice: c_uint, location: CUmemLocation) {
        let _ = (advice, location);
        is_managed(at, size)
    }
}

fn is_managed(at: CUdeviceptr, size: usize) -> Outcome<()> {
    context::current()?;
    space::find(at)
        .filter(|found| found.kind == Kind::Managed && at + size as u64 <= found.start + found.size)
        .map(drop)
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}
