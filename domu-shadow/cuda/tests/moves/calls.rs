//! The driver API, as a program calls it.

use std::ffi::{c_int, c_uint, c_void};

use xl_gpu_cuda::abi::*;

unsafe extern "C" {
    pub fn cuInit(flags: c_uint) -> CUresult;
    pub fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int) -> CUresult;
    pub fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice) -> CUresult;
    pub fn cuCtxSetCurrent(context: CUcontext) -> CUresult;
    pub fn cuCtxSynchronize() -> CUresult;
    pub fn cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize) -> CUresult;
    pub fn cuMemFree_v2(at: CUdeviceptr) -> CUresult;
    pub fn cuMemAllocManaged(at: *mut CUdeviceptr, bytes: usize, flags: c_uint) -> CUresult;
    pub fn cuMemCreate(
        handle: *mut CUmemGenericAllocationHandle,
        bytes: usize,
        properties: *const CUmemAllocationProp,
        flags: u64,
    ) -> CUresult;
    pub fn cuMemAddressReserve(
        at: *mut CUdeviceptr,
        bytes: usize,
        alignment: usize,
        wanted: CUdeviceptr,
        flags: u64,
    ) -> CUresult;
    pub fn cuMemMap(
        at: CUdeviceptr,
        bytes: usize,
        offset: usize,
        handle: CUmemGenericAllocationHandle,
        flags: u64,
    ) -> CUresult;
    pub fn cuMemSetAccess(
        at: CUdeviceptr,
        bytes: usize,
        access: *const CUmemAccessDesc,
        count: usize,
    ) -> CUresult;
    pub fn cuMemcpyHtoD_v2(to: CUdeviceptr, from: *const c_void, bytes: usize) -> CUresult;
    pub fn cuMemcpyDtoH_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize) -> CUresult;
    pub fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> CUresult;
    pub fn cuStreamCreate(stream: *mut CUstream, flags: c_uint) -> CUresult;
    pub fn cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint) -> CUresult;
    pub fn cuStreamEndCapture(stream: CUstream, graph: *mut *mut c_void) -> CUresult;
    pub fn cuStreamWaitValue32_v2(
        stream: CUstream,
        at: CUdeviceptr,
        value: u32,
        flags: c_uint,
    ) -> CUresult;
    pub fn cuStreamWriteValue32_v2(
        stream: CUstream,
        at: CUdeviceptr,
        value: u32,
        flags: c_uint,
    ) -> CUresult;
    pub fn cuMemsetD8Async(at: CUdeviceptr, value: u8, bytes: usize, stream: CUstream) -> CUresult;
    pub fn cuMemsetD8_v2(at: CUdeviceptr, value: u8, bytes: usize) -> CUresult;
}

/// Calls a function, which must succeed.
macro_rules! ok {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: the tests pass what cuda.h asks for.
        let code = unsafe { $crate::calls::$name($($argument),*) };
        assert_eq!(code, 0, stringify!($name));
    }};
}
pub(crate) use ok;
