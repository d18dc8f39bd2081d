//! Memory between processes.

use std::ffi::c_uint;

use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::ffi::put;
use crate::ipc;

const LAZY_ENABLE_PEER_ACCESS: c_uint = 1;

fn open(out: *mut CUdeviceptr, handle: &CUipcHandle, flags: c_uint) -> Outcome<()> {
    let context = context::current()?;
    if out.is_null() || flags != LAZY_ENABLE_PEER_ACCESS {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(out, ipc::open(context.handle, context.device, &handle.0)?)
}

entry_points! {
    fn cuIpcGetMemHandle(out: *mut CUipcHandle, at: CUdeviceptr) {
        let context = context::current()?;
        context.synchronize()?;
        put(out, CUipcHandle(ipc::give(at)?))
    }

    fn cuIpcOpenMemHandle(out: *mut CUdeviceptr, handle: CUipcHandle, flags: c_uint) {
        open(out, &handle, flags)
    }

    fn cuIpcOpenMemHandle_v2(out: *mut CUdeviceptr, handle: CUipcHandle, flags: c_uint) {
        open(out, &handle, flags)
    }

    fn cuIpcCloseMemHandle(at: CUdeviceptr) {
        let context = context::current()?;
        context.synchronize()?;
        ipc::close(at)
    }
}
