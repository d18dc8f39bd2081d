//! What changes nothing here: hints, attributes of streams, the profiler.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::context;
use crate::device;
use crate::ffi::{get, put, put_list};
use crate::memory::space::{self, Kind};
use crate::work::Work;

fn prefetch(default: Default, at: CUdeviceptr, size: usize, stream: Handle) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    let found = space::find(at).filter(|found| found.kind == Kind::Managed);
    let found = found.ok_or(CUDA_ERROR_INVALID_VALUE)?;
    match at + size as u64 <= found.start + found.size {
        true => context::enqueue(&context, &stream, Work::Nothing),
        false => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

entry_points! {
    fn cuMemPrefetchAsync | cuMemPrefetchAsync_ptsz (at: CUdeviceptr, size: usize, dev: CUdevice, stream: Handle) |default| {
        let _ = dev;
        prefetch(default, at, size, stream)
    }

    fn cuMemPrefetchAsync_v2 | cuMemPrefetchAsync_v2_ptsz (at: CUdeviceptr, size: usize, location: CUmemLocation, flags: c_uint, stream: Handle) |default| {
        let _ = (location, flags);
        prefetch(default, at, size, stream)
    }

    fn cuStreamGetAttribute | cuStreamGetAttribute_ptsz (stream: Handle, attribute: c_uint, value: *mut [u64; 8]) |default| {
        let _ = attribute;
        context::of_stream(default, stream)?;
        put(value, [0; 8])
    }

    fn cuStreamSetAttribute | cuStreamSetAttribute_ptsz (stream: Handle, attribute: c_uint, value: *const [u64; 8]) |default| {
        let _ = (attribute, get(value)?);
        context::of_stream(default, stream).map(drop)
    }

    fn cuStreamCopyAttributes | cuStreamCopyAttributes_ptsz (to: Handle, from: Handle) |default| {
        context::of_stream(default, to)?;
        context::of_stream(default, from).map(drop)
    }

    fn cuProfilerStart() {
        context::current().map(drop)
    }

    fn cuProfilerStop() {
        context::current().map(drop)
    }

    fn cuFlushGPUDirectRDMAWrites(target: c_uint, scope: c_uint) {
        let _ = (target, scope);
        context::current().map(drop)
    }

    fn cuDeviceGetLuid(luid: *mut c_char, mask: *mut c_uint, dev: CUdevice) {
        let _ = (luid, mask);
        device::get(dev)?;
        Err(CUDA_ERROR_NOT_SUPPORTED)
    }

    fn cuDeviceGetExecAffinitySupport(value: *mut c_int, kind: c_uint, dev: CUdevice) {
        let _ = kind;
        device::get(dev)?;
        put(value, 0)
    }

    fn cuDeviceGetTexture1DLinearMaxWidth(out: *mut usize, format: c_uint, channels: c_uint, dev: CUdevice) {
        let _ = (format, channels);
        device::get(dev)?;
        put(out, 1 << 28)
    }

    fn cuDeviceGetProperties(out: *mut [c_int; 14], dev: CUdevice) {
        device::get(dev)?;
        let most = [1024, 1024, 1024, 64, i32::MAX, 65535, 65535];
        put(out, [
            most[0], most[1], most[2], most[3], most[4], most[5], most[6], 48 << 10, 64 << 10, 32, i32::MAX, 65536,
            1_000_000, 512,
        ])
    }

    fn cuDeviceGraphMemTrim(dev: CUdevice) {
        device::get(dev).map(drop)
    }

    fn cuDeviceGetGraphMemAttribute(dev: CUdevice, attribute: c_uint, value: *mut c_ulonglong) {
        let _ = attribute;
        device::get(dev)?;
        put(value, 0)
    }

    fn cuDeviceSetGraphMemAttribute(dev: CUdevice, attribute: c_uint, value: *const c_void) {
        let _ = (attribute, value);
        device::get(dev).map(drop)
    }

    fn cuMemRangeGetAttribute(data: *mut c_void, room: usize, attribute: c_uint, at: CUdeviceptr, size: usize) {
        let _ = (attribute, size);
        let found = space::find(at).filter(|found| found.kind == Kind::Managed);
        found.ok_or(CUDA_ERROR_INVALID_VALUE)?;
        put_list(data.cast::<u8>(), &vec![0; room]);
        Ok(())
    }
}
