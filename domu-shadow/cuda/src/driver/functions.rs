//! The driver's functions that are called here, with their prototypes (`cuda.h`).
//!
//! A call is `unsafe` as it is in C: its pointers have to be what `cuda.h` says.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use crate::abi::*;

/// Answered where a driver does not have a function.
const MISSING: CUresult = CUDA_ERROR_NOT_SUPPORTED;

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {
        /// Functions of one driver. A method answers `CUDA_ERROR_NOT_SUPPORTED` where it has none of that name.
        #[allow(non_snake_case)]
        #[derive(Debug, Default)]
        pub struct Functions {
            $($name: Option<unsafe extern "C" fn($($type),*) -> CUresult>,)*
        }

        #[allow(non_snake_case, clippy::too_many_arguments, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
        impl Functions {
            /// Those that `find` knows, by name.
            ///
            /// # Safety
            /// What `find` returns has the prototype that `cuda.h` gives the name.
            pub unsafe fn load(mut find: impl FnMut(&'static str) -> *mut c_void) -> Functions {
                Functions {
                    $($name: unsafe {
                        std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn($($type),*) -> CUresult>>(find(stringify!($name)))
                    },)*
                }
            }

            $(#[inline]
            pub unsafe fn $name(&self, $($argument: $type),*) -> CUresult {
                match self.$name {
                    Some(function) => unsafe { function($($argument),*) },
                    None => MISSING,
                }
            })*

            /// Whether the driver has the function.
            pub fn has(&self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name.is_some(),)*
                    _ => false,
                }
            }
        }
    };
}

functions! {
    cuInit(flags: c_uint);
    cuDriverGetVersion(version: *mut c_int);
    cuGetErrorName(error: CUresult, name: *mut *const c_char);
    cuDeviceGet(device: *mut CUdevice, ordinal: c_int);
    cuDeviceGetCount(count: *mut c_int);
    cuDeviceCanAccessPeer(can: *mut c_int, device: CUdevice, peer: CUdevice);
    cuDeviceGetName(name: *mut c_char, len: c_int, device: CUdevice);
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: CUdevice);
    cuDeviceGetUuid_v2(uuid: *mut CUuuid, device: CUdevice);
    cuDeviceGetPCIBusId(id: *mut c_char, len: c_int, device: CUdevice);
    cuDeviceTotalMem_v2(bytes: *mut usize, device: CUdevice);
    cuDevicePrimaryCtxGetState(device: CUdevice, flags: *mut c_uint, active: *mut c_int);
    cuCtxGetCurrent(context: *mut CUcontext);
    cuCtxGetDevice(device: *mut CUdevice);
    cuCtxGetId(context: CUcontext, id: *mut u64);
    cuCtxPushCurrent_v2(context: CUcontext);
    cuCtxPopCurrent_v2(context: *mut CUcontext);
    cuCtxSynchronize();
    cuCtxCreate(context: *mut CUcontext, flags: c_uint, device: CUdevice);
    cuCtxCreate_v2(context: *mut CUcontext, flags: c_uint, device: CUdevice);
    cuCtxCreate_v3(context: *mut CUcontext, affinities: *mut c_void, count: c_int, flags: c_uint, device: CUdevice);
    cuCtxCreate_v4(context: *mut CUcontext, parameters: *mut c_void, flags: c_uint, device: CUdevice);
    cuCtxDestroy(context: CUcontext);
    cuCtxDestroy_v2(context: CUcontext);
    cuCtxAttach(context: *mut CUcontext, flags: c_uint);
    cuCtxDetach(context: CUcontext);
    cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice);
    cuDevicePrimaryCtxRelease(device: CUdevice);
    cuDevicePrimaryCtxRelease_v2(device: CUdevice);
    cuDevicePrimaryCtxReset(device: CUdevice);
    cuDevicePrimaryCtxReset_v2(device: CUdevice);
    cuMemAlloc(at: *mut c_uint, bytes: c_uint);
    cuMemAllocPitch(at: *mut c_uint, pitch: *mut c_uint, width: c_uint, height: c_uint, element: c_uint);
    cuMemAllocPitch_v2(at: *mut CUdeviceptr, pitch: *mut usize, width: usize, height: usize, element: c_uint);
    cuMemAllocManaged(at: *mut CUdeviceptr, bytes: usize, flags: c_uint);
    cuMemGetAddressRange(base: *mut c_uint, size: *mut c_uint, at: c_uint);
    cuMemAllocAsync(at: *mut CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemAllocAsync_ptsz(at: *mut CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemAllocFromPoolAsync(at: *mut CUdeviceptr, bytes: usize, pool: CUmemoryPool, stream: CUstream);
    cuMemAllocFromPoolAsync_ptsz(at: *mut CUdeviceptr, bytes: usize, pool: CUmemoryPool, stream: CUstream);
    cuMemFreeAsync(at: CUdeviceptr, stream: CUstream);
    cuMemFreeAsync_ptsz(at: CUdeviceptr, stream: CUstream);
    cuStreamSynchronize_ptsz(stream: CUstream);
    cuStreamIsCapturing(stream: CUstream, status: *mut c_uint);
    cuMemPoolCreate(pool: *mut CUmemoryPool, properties: *const c_void);
    cuMemPoolTrimTo(pool: CUmemoryPool, keep: usize);
    cuDeviceGetMemPool(pool: *mut CUmemoryPool, device: CUdevice);
    cuDeviceGetDefaultMemPool(pool: *mut CUmemoryPool, device: CUdevice);
    cuDeviceGraphMemTrim(device: CUdevice);
    cuMemPoolDestroy(pool: CUmemoryPool);
    cuMemPoolImportFromShareableHandle(pool: *mut CUmemoryPool, handle: *mut c_void, kind: c_uint, flags: u64);
    cuMemGetDefaultMemPool(pool: *mut CUmemoryPool, location: *mut CUmemLocation, kind: c_uint);
    cuMemGetMemPool(pool: *mut CUmemoryPool, location: *mut CUmemLocation, kind: c_uint);
    cuMemGetAccess(flags: *mut u64, location: *const CUmemLocation, at: CUdeviceptr);
    cuMemGetAllocationPropertiesFromHandle(properties: *mut CUmemAllocationProp, handle: CUmemGenericAllocationHandle);
    cuMemRetainAllocationHandle(handle: *mut CUmemGenericAllocationHandle, at: *mut c_void);
    cuMemExportToShareableHandle(shareable: *mut c_void, handle: CUmemGenericAllocationHandle, kind: c_uint, flags: u64);
    cuMemImportFromShareableHandle(handle: *mut CUmemGenericAllocationHandle, shareable: *mut c_void, kind: c_uint);
    cuMemMapArrayAsync(list: *mut CUarrayMapInfo, count: c_uint, stream: CUstream);
    cuMemMapArrayAsync_ptsz(list: *mut CUarrayMapInfo, count: c_uint, stream: CUstream);
    cuMemGetHandleForAddressRange(handle: *mut c_void, at: CUdeviceptr, size: usize, kind: c_uint, flags: u64);
    cuMulticastAddDevice(multicast: CUmemGenericAllocationHandle, device: CUdevice);
    cuMulticastBindAddr(multicast: CUmemGenericAllocationHandle, offset: usize, at: CUdeviceptr, size: usize, flags: u64);
    cuMulticastBindAddr_v2(multicast: CUmemGenericAllocationHandle, device: CUdevice, offset: usize, at: CUdeviceptr, size: usize, flags: u64);
    cuMulticastUnbind(multicast: CUmemGenericAllocationHandle, device: CUdevice, offset: usize, size: usize);
    cuLogicalEndpointBindMem(endpoint: c_uint, device: CUdevice, endpoint_offset: u64, handle: CUmemGenericAllocationHandle, offset: u64, size: u64, flags: u64);
    cuMemPoolImportPointer(at: *mut CUdeviceptr, pool: CUmemoryPool, data: *mut c_void);
    cuMulticastBindMem(multicast: CUmemGenericAllocationHandle, multicast_offset: usize, handle: CUmemGenericAllocationHandle, offset: usize, size: usize, flags: u64);
    cuMulticastBindMem_v2(multicast: CUmemGenericAllocationHandle, device: CUdevice, multicast_offset: usize, handle: CUmemGenericAllocationHandle, offset: usize, size: usize, flags: u64);
    cuMemAllocHost(at: *mut *mut c_void, bytes: c_uint);
    cuMemAllocHost_v2(at: *mut *mut c_void, bytes: usize);
    cuMemHostRegister(at: *mut c_void, bytes: usize, flags: c_uint);
    cuArrayCreate(array: *mut CUarray, descriptor: *const c_void);
    cuArrayCreate_v2(array: *mut CUarray, descriptor: *const CUDA_ARRAY_DESCRIPTOR);
    cuArray3DCreate(array: *mut CUarray, descriptor: *const c_void);
    cuArray3DCreate_v2(array: *mut CUarray, descriptor: *const CUDA_ARRAY3D_DESCRIPTOR);
    cuArray3DGetDescriptor_v2(descriptor: *mut CUDA_ARRAY3D_DESCRIPTOR, array: CUarray);
    cuArrayDestroy(array: CUarray);
    cuMipmappedArrayCreate(array: *mut CUmipmappedArray, descriptor: *const CUDA_ARRAY3D_DESCRIPTOR, levels: c_uint);
    cuMipmappedArrayDestroy(array: CUmipmappedArray);
    cuIpcGetMemHandle(handle: *mut CUipcMemHandle, at: CUdeviceptr);
    cuIpcOpenMemHandle(at: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint);
    cuIpcOpenMemHandle_v2(at: *mut CUdeviceptr, handle: CUipcMemHandle, flags: c_uint);
    cuIpcCloseMemHandle(at: CUdeviceptr);
    cuIpcOpenEventHandle(event: *mut CUevent, handle: CUipcEventHandle);
    cuImportExternalMemory(memory: *mut CUexternalMemory, descriptor: *const c_void);
    cuDestroyExternalMemory(memory: CUexternalMemory);
    cuImportExternalSemaphore(semaphore: *mut CUexternalSemaphore, descriptor: *const c_void);
    cuDestroyExternalSemaphore(semaphore: CUexternalSemaphore);
    cuModuleGetGlobal(at: *mut c_uint, bytes: *mut c_uint, module: CUmodule, name: *const c_char);
    cuModuleGetGlobal_v2(at: *mut CUdeviceptr, bytes: *mut usize, module: CUmodule, name: *const c_char);
    cuLibraryGetGlobal(at: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryGetManaged(at: *mut CUdeviceptr, bytes: *mut usize, library: CUlibrary, name: *const c_char);
    cuLibraryUnload(library: CUlibrary);
    cuEventDestroy(event: CUevent);
    cuPointerGetAttributes(count: c_uint, attributes: *mut c_uint, data: *mut *mut c_void, at: CUdeviceptr);
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize);
    cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize);
    cuMemFree(at: c_uint);
    cuMemFree_v2(at: CUdeviceptr);
    cuMemAddressReserve(at: *mut CUdeviceptr, size: usize, alignment: usize, wanted: CUdeviceptr, flags: u64);
    cuMemAddressFree(at: CUdeviceptr, size: usize);
    cuMemCreate(handle: *mut CUmemGenericAllocationHandle, size: usize, properties: *const CUmemAllocationProp, flags: u64);
    cuMemRelease(handle: CUmemGenericAllocationHandle);
    cuMemMap(at: CUdeviceptr, size: usize, offset: usize, handle: CUmemGenericAllocationHandle, flags: u64);
    cuMemUnmap(at: CUdeviceptr, size: usize);
    cuMemSetAccess(at: CUdeviceptr, size: usize, access: *const CUmemAccessDesc, count: usize);
    cuMemGetAllocationGranularity(bytes: *mut usize, properties: *const CUmemAllocationProp, option: c_uint);
    cuMemHostRegister_v2(at: *mut c_void, bytes: usize, flags: c_uint);
    cuMemHostUnregister(at: *mut c_void);
    cuMemHostAlloc(at: *mut *mut c_void, bytes: usize, flags: c_uint);
    cuMemFreeHost(at: *mut c_void);
    cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: *const c_void, bytes: usize, stream: CUstream);
    cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: CUstream);
    cuMemsetD8Async(at: CUdeviceptr, value: u8, bytes: usize, stream: CUstream);
    cuStreamCreate(stream: *mut CUstream, flags: c_uint);
    cuStreamCreateWithPriority(stream: *mut CUstream, flags: c_uint, priority: c_int);
    cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int);
    cuStreamDestroy_v2(stream: CUstream);
    cuStreamQuery(stream: CUstream);
    cuStreamSynchronize(stream: CUstream);
    cuStreamGetCtx(stream: CUstream, context: *mut CUcontext);
    cuStreamGetCtx_ptsz(stream: CUstream, context: *mut CUcontext);
    cuStreamWaitEvent(stream: CUstream, event: CUevent, flags: c_uint);
    cuThreadExchangeStreamCaptureMode(mode: *mut c_uint);
    cuEventCreate(event: *mut CUevent, flags: c_uint);
    cuEventDestroy_v2(event: CUevent);
    cuEventRecord(event: CUevent, stream: CUstream);
    cuEventRecord_ptsz(event: CUevent, stream: CUstream);
    cuEventQuery(event: CUevent);
    cuEventSynchronize(event: CUevent);
    cuEventElapsedTime(milliseconds: *mut f32, start: CUevent, end: CUevent);
    cuModuleLoadData(module: *mut CUmodule, image: *const c_void);
    cuModuleLoadDataEx(module: *mut CUmodule, image: *const c_void, count: c_uint, options: *mut c_uint, values: *mut *mut c_void);
    cuModuleUnload(module: CUmodule);
    cuModuleGetFunction(function: *mut CUfunction, module: CUmodule, name: *const c_char);
    cuLaunchKernel(function: CUfunction, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint, shared_bytes: c_uint, stream: CUstream, parameters: *mut *mut c_void, extra: *mut *mut c_void);
    cuPointerGetAttribute(data: *mut c_void, attribute: c_uint, at: CUdeviceptr);
    cuPointerSetAttribute(value: *const c_void, attribute: c_uint, at: CUdeviceptr);
    cuMemGetAddressRange_v2(base: *mut CUdeviceptr, size: *mut usize, at: CUdeviceptr);
    cuCheckpointProcessGetState(pid: c_int, state: *mut c_uint);
    cuCheckpointProcessLock(pid: c_int, args: *mut CUcheckpointLockArgs);
    cuCheckpointProcessCheckpoint(pid: c_int, args: *mut c_void);
    cuCheckpointProcessRestore(pid: c_int, args: *mut CUcheckpointRestoreArgs);
    cuCheckpointProcessUnlock(pid: c_int, args: *mut c_void);
}

static DRIVER: OnceLock<Functions> = OnceLock::new();

/// The driver's; all missing before the library was opened.
pub fn driver() -> &'static Functions {
    static NONE: OnceLock<Functions> = OnceLock::new();
    DRIVER
        .get()
        .unwrap_or_else(|| NONE.get_or_init(Functions::default))
}

/// The library has been opened. Once.
pub fn set(functions: Functions) {
    let _ = DRIVER.set(functions);
}
