//! Types and constants of the driver API, with the names of `cuda.h`.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

pub use crate::errors::*;

pub type CUdevice = c_int;
pub type CUdeviceptr = c_ulonglong;
pub type CUhostFn = Option<unsafe extern "C" fn(*mut c_void)>;
pub type CUstreamCallback = Option<unsafe extern "C" fn(Handle, CUresult, *mut c_void)>;

/// Every opaque handle. Zero is NULL.
pub type Handle = usize;

pub const CU_STREAM_LEGACY: Handle = 1;
pub const CU_STREAM_PER_THREAD: Handle = 2;
pub const CU_STREAM_NON_BLOCKING: c_uint = 1;

pub const CU_EVENT_DISABLE_TIMING: c_uint = 2;
pub const CU_EVENT_INTERPROCESS: c_uint = 4;

pub const CU_MEM_LOCATION_TYPE_DEVICE: c_uint = 1;
pub const CU_MEM_LOCATION_TYPE_HOST: c_uint = 2;
pub const CU_MEM_LOCATION_TYPE_HOST_NUMA: c_uint = 3;
pub const CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR: c_uint = 1;
pub const CU_MEM_ALLOCATION_TYPE_PINNED: c_uint = 1;

pub const CU_MEMORYTYPE_HOST: c_uint = 1;
pub const CU_MEMORYTYPE_DEVICE: c_uint = 2;
pub const CU_MEMORYTYPE_ARRAY: c_uint = 3;
pub const CU_MEMORYTYPE_UNIFIED: c_uint = 4;

pub const CU_PROCESS_STATE_RUNNING: c_uint = 0;
pub const CU_PROCESS_STATE_LOCKED: c_uint = 1;
pub const CU_PROCESS_STATE_CHECKPOINTED: c_uint = 2;
pub const CU_PROCESS_STATE_FAILED: c_uint = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CUmemLocation {
    pub kind: c_uint,
    pub id: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CUmemAccessDesc {
    pub location: CUmemLocation,
    pub flags: c_uint,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct CUmemAllocationProp {
    pub kind: c_uint,
    pub handle_types: c_uint,
    pub location: CUmemLocation,
    pub win32: usize,
    pub compression: u8,
    pub rdma: u8,
    pub usage: u16,
    pub reserved: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemPoolProps {
    pub kind: c_uint,
    pub handle_types: c_uint,
    pub location: CUmemLocation,
    pub win32: usize,
    pub max_size: usize,
    pub usage: u16,
    pub reserved: [u8; 54],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CUuuid(pub [u8; 16]);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUcheckpointLockArgs {
    pub timeout_ms: c_uint,
    pub reserved0: c_uint,
    pub reserved1: [u64; 7],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUcheckpointGpuPair {
    pub old_uuid: CUuuid,
    pub new_uuid: CUuuid,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUcheckpointRestoreArgs {
    pub pairs: *const CUcheckpointGpuPair,
    pub count: c_uint,
    pub reserved: [c_uint; 13],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemcpy2D {
    pub src_x: usize,
    pub src_y: usize,
    pub src_kind: c_uint,
    pub src_host: usize,
    pub src_device: CUdeviceptr,
    pub src_array: Handle,
    pub src_pitch: usize,
    pub dst_x: usize,
    pub dst_y: usize,
    pub dst_kind: c_uint,
    pub dst_host: usize,
    pub dst_device: CUdeviceptr,
    pub dst_array: Handle,
    pub dst_pitch: usize,
    pub width: usize,
    pub height: usize,
}

/// Also `CUDA_MEMCPY3D_PEER`: the contexts stand in the reserved fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemcpy3D {
    pub src_x: usize,
    pub src_y: usize,
    pub src_z: usize,
    pub src_lod: usize,
    pub src_kind: c_uint,
    pub src_host: usize,
    pub src_device: CUdeviceptr,
    pub src_array: Handle,
    pub src_context: Handle,
    pub src_pitch: usize,
    pub src_height: usize,
    pub dst_x: usize,
    pub dst_y: usize,
    pub dst_z: usize,
    pub dst_lod: usize,
    pub dst_kind: c_uint,
    pub dst_host: usize,
    pub dst_device: CUdeviceptr,
    pub dst_array: Handle,
    pub dst_context: Handle,
    pub dst_pitch: usize,
    pub dst_height: usize,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CUarrayDescriptor {
    pub width: usize,
    pub height: usize,
    pub format: c_uint,
    pub channels: c_uint,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CUarray3DDescriptor {
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    pub format: c_uint,
    pub channels: c_uint,
    pub flags: c_uint,
}

/// `CUDA_KERNEL_NODE_PARAMS_v1`, the start of the later ones.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUkernelNodeParams {
    pub function: Handle,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub parameters: *const *const c_void,
    pub extra: *const *const c_void,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2` and `v3`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUkernelNodeParamsV2 {
    pub v1: CUkernelNodeParams,
    pub kernel: Handle,
    pub context: Handle,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUmemsetNodeParams {
    pub dst: CUdeviceptr,
    pub pitch: usize,
    pub value: c_uint,
    pub element: c_uint,
    pub width: usize,
    pub height: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUhostNodeParams {
    pub function: CUhostFn,
    pub data: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUlaunchAttribute {
    pub id: c_uint,
    pub pad: c_uint,
    pub value: [u64; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUlaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub stream: Handle,
    pub attributes: *const CUlaunchAttribute,
    pub count: c_uint,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUipcHandle(pub [u8; 64]);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CUstreamMemOp {
    pub operation: c_uint,
    pub pad: c_uint,
    pub address: CUdeviceptr,
    pub value: u64,
    pub flags: c_uint,
    pub pad2: c_uint,
    pub alias: CUdeviceptr,
    pub rest: u64,
}

const _: () = {
    assert!(size_of::<CUmemAllocationProp>() == 32);
    assert!(size_of::<CUmemPoolProps>() == 88);
    assert!(size_of::<CUcheckpointLockArgs>() == 64);
    assert!(size_of::<CUcheckpointRestoreArgs>() == 64);
    assert!(size_of::<CUmemcpy2D>() == 128);
    assert!(size_of::<CUmemcpy3D>() == 200);
    assert!(size_of::<CUkernelNodeParams>() == 56);
    assert!(size_of::<CUlaunchAttribute>() == 72);
    assert!(size_of::<CUlaunchConfig>() == 56);
    assert!(size_of::<CUstreamMemOp>() == 48);
};
