//! Device memory as the driver gives it: the calls that move memory away and back.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::functions::driver;
use crate::abi::*;

/// What a call answers.
pub type Answer<T> = Result<T, CUresult>;

/// `Ok` for `CUDA_SUCCESS`.
pub fn check(code: CUresult) -> Answer<()> {
    if code == CUDA_SUCCESS {
        Ok(())
    } else {
        Err(code)
    }
}

/// What `cuMemCreate` is asked for, without the pointer that only Windows knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    pub kind: u32,
    pub handle_types: u32,
    pub location: CUmemLocation,
    pub compression: u8,
    pub rdma_capable: u8,
    pub usage: u16,
    pub reserved: [u8; 4],
}

impl Properties {
    /// Ordinary memory of a device.
    pub fn of_device(device: CUdevice) -> Properties {
        Properties {
            kind: CU_MEM_ALLOCATION_TYPE_PINNED,
            handle_types: 0,
            location: CUmemLocation {
                kind: CU_MEM_LOCATION_TYPE_DEVICE,
                id: device,
            },
            compression: 0,
            rdma_capable: 0,
            usage: 0,
            reserved: [0; 4],
        }
    }

    /// Whether it is memory of a device.
    pub fn is_devices(&self) -> bool {
        self.location.kind == CU_MEM_LOCATION_TYPE_DEVICE
    }

    fn to_abi(self) -> CUmemAllocationProp {
        CUmemAllocationProp {
            kind: self.kind,
            requested_handle_types: self.handle_types,
            location: self.location,
            win32_handle_meta_data: std::ptr::null_mut(),
            compression_type: self.compression,
            gpu_direct_rdma_capable: self.rdma_capable,
            usage: self.usage,
            reserved: self.reserved,
        }
    }
}

impl From<&CUmemAllocationProp> for Properties {
    fn from(abi: &CUmemAllocationProp) -> Properties {
        Properties {
            kind: abi.kind,
            handle_types: abi.requested_handle_types,
            location: abi.location,
            compression: abi.compression_type,
            rdma_capable: abi.gpu_direct_rdma_capable,
            usage: abi.usage,
            reserved: abi.reserved,
        }
    }
}

/// The access that lets a device read and write.
pub fn read_write(device: CUdevice) -> CUmemAccessDesc {
    CUmemAccessDesc {
        location: CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_DEVICE,
            id: device,
        },
        flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    }
}

/// An attribute's value, as the driver writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub bytes: [u8; 8],
    /// How many of them.
    pub len: usize,
}

impl Value {
    pub fn int(value: u32) -> Value {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&value.to_le_bytes());
        Value { bytes, len: 4 }
    }

    pub fn long(value: u64) -> Value {
        Value {
            bytes: value.to_le_bytes(),
            len: 8,
        }
    }
}

/// A driver's memory calls. Addresses are the device's, sizes bytes; errors are the driver's codes.
pub trait Vm {
    /// Makes a context current on this thread, until [`Vm::leave`].
    fn enter(&self, context: usize) -> Answer<()>;
    fn leave(&self);
    fn synchronize(&self) -> Answer<()>;
    fn alloc(&self, bytes: usize) -> Answer<CUdeviceptr>;
    fn free(&self, at: CUdeviceptr) -> Answer<()>;
    /// The driver may give another address than the one `wanted`.
    fn reserve(&self, bytes: usize, wanted: CUdeviceptr) -> Answer<CUdeviceptr>;
    fn unreserve(&self, at: CUdeviceptr, bytes: usize) -> Answer<()>;
    /// The other devices, which all reach mapped memory of this one. `None`: some do not.
    fn others_reaching(&self, device: CUdevice) -> Option<Vec<CUdevice>>;
    /// What mapped memory of a device is made of, so that all can be done with it that can be done with memory of `cuMemAlloc`.
    fn like_ordinary(&self, device: CUdevice) -> Properties;
    fn create(&self, bytes: usize, properties: &Properties, flags: u64) -> Answer<u64>;
    fn release(&self, handle: u64) -> Answer<()>;
    fn map(
        &self,
        at: CUdeviceptr,
        bytes: usize,
        offset: usize,
        handle: u64,
        flags: u64,
    ) -> Answer<()>;
    fn unmap(&self, at: CUdeviceptr, bytes: usize) -> Answer<()>;
    fn set_access(&self, at: CUdeviceptr, bytes: usize, access: &[CUmemAccessDesc]) -> Answer<()>;
    /// Whether an event of ours has been reached; then it is no more.
    fn is_reached(&self, event: usize) -> bool;
    /// `CU_POINTER_ATTRIBUTE_SYNC_MEMOPS`.
    fn set_sync_memops(&self, at: CUdeviceptr, on: bool) -> Answer<()>;
    /// A pointer's attribute of at most 8 bytes.
    fn attribute(&self, attribute: u32, at: CUdeviceptr) -> Answer<Value>;
}

/// NVIDIA's.
#[derive(Clone, Copy, Debug)]
pub struct Real;

impl Real {
    /// The allocation around an address: where it begins, and its bytes.
    ///
    /// # Errors
    /// The driver's.
    pub fn around(&self, at: CUdeviceptr) -> Answer<(CUdeviceptr, usize)> {
        let (mut base, mut size) = (0, 0);
        // SAFETY: the pointers are this function's variables.
        check(unsafe { driver().cuMemGetAddressRange_v2(&raw mut base, &raw mut size, at) })?;
        Ok((base, size))
    }

    /// A descriptor of memory, for other processes. Closed if the process executes another program.
    ///
    /// # Errors
    /// The driver's.
    pub fn export(&self, memory: u64) -> Answer<OwnedFd> {
        let mut number: c_int = -1;
        let (to, kind) = (
            (&raw mut number).cast(),
            CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
        );
        // SAFETY: the driver writes a descriptor to this function's variable.
        check(unsafe { driver().cuMemExportToShareableHandle(to, memory, kind, 0) })?;
        // SAFETY: it has just been opened for the caller.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let _ = rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC);
        Ok(descriptor)
    }

    /// A handle to the memory of a descriptor, which may be closed afterwards.
    ///
    /// # Errors
    /// The driver's.
    pub fn import(&self, descriptor: BorrowedFd<'_>) -> Answer<u64> {
        let mut memory = 0;
        let number = std::ptr::without_provenance_mut(descriptor.as_raw_fd() as usize);
        let kind = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
        // SAFETY: for descriptors the second argument is the number itself (`cuda.h`).
        check(unsafe { driver().cuMemImportFromShareableHandle(&raw mut memory, number, kind) })?;
        Ok(memory)
    }
}

// SAFETY (of every call in it): the pointers are this function's own variables, with the types that `cuda.h` names. What a wrong
// device address or handle does is an error code of the driver's.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Vm for Real {
    fn enter(&self, context: usize) -> Answer<()> {
        check(unsafe { driver().cuCtxPushCurrent_v2(context as CUcontext) })
    }

    fn leave(&self) {
        let mut popped = std::ptr::null_mut();
        let code = unsafe { driver().cuCtxPopCurrent_v2(&raw mut popped) };
        if code != CUDA_SUCCESS {
            log::warn!("cuCtxPopCurrent failed with CUDA error {code}");
        }
    }

    fn synchronize(&self) -> Answer<()> {
        check(unsafe { driver().cuCtxSynchronize() })
    }

    fn alloc(&self, bytes: usize) -> Answer<CUdeviceptr> {
        let mut at = 0;
        check(unsafe { driver().cuMemAlloc_v2(&raw mut at, bytes) })?;
        Ok(at)
    }

    fn free(&self, at: CUdeviceptr) -> Answer<()> {
        check(unsafe { driver().cuMemFree_v2(at) })
    }

    fn reserve(&self, bytes: usize, wanted: CUdeviceptr) -> Answer<CUdeviceptr> {
        let mut at = 0;
        check(unsafe { driver().cuMemAddressReserve(&raw mut at, bytes, 0, wanted, 0) })?;
        Ok(at)
    }

    fn unreserve(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        check(unsafe { driver().cuMemAddressFree(at, bytes) })
    }

    fn others_reaching(&self, device: CUdevice) -> Option<Vec<CUdevice>> {
        let mut count = 0;
        check(unsafe { driver().cuDeviceGetCount(&raw mut count) }).ok()?;
        let others: Vec<CUdevice> = (0..count).filter(|other| *other != device).collect();
        let reaches = |other: &CUdevice| {
            let mut can = 0;
            let code = unsafe { driver().cuDeviceCanAccessPeer(&raw mut can, *other, device) };
            code == CUDA_SUCCESS && can != 0
        };
        others.iter().all(reaches).then_some(others)
    }

    fn like_ordinary(&self, device: CUdevice) -> Properties {
        let can = |attribute| {
            let mut value = 0;
            let code = unsafe { driver().cuDeviceGetAttribute(&raw mut value, attribute, device) };
            code == CUDA_SUCCESS && value != 0
        };
        let mut properties = Properties::of_device(device);
        if can(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED) {
            properties.handle_types = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
        }
        properties.rdma_capable = u8::from(can(
            CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
        ));
        properties
    }

    fn create(&self, bytes: usize, properties: &Properties, flags: u64) -> Answer<u64> {
        let (mut handle, properties) = (0, properties.to_abi());
        check(unsafe {
            driver().cuMemCreate(&raw mut handle, bytes, &raw const properties, flags)
        })?;
        Ok(handle)
    }

    fn release(&self, handle: u64) -> Answer<()> {
        check(unsafe { driver().cuMemRelease(handle) })
    }

    fn map(
        &self,
        at: CUdeviceptr,
        bytes: usize,
        offset: usize,
        handle: u64,
        flags: u64,
    ) -> Answer<()> {
        check(unsafe { driver().cuMemMap(at, bytes, offset, handle, flags) })
    }

    fn unmap(&self, at: CUdeviceptr, bytes: usize) -> Answer<()> {
        check(unsafe { driver().cuMemUnmap(at, bytes) })
    }

    fn set_access(&self, at: CUdeviceptr, bytes: usize, access: &[CUmemAccessDesc]) -> Answer<()> {
        check(unsafe { driver().cuMemSetAccess(at, bytes, access.as_ptr(), access.len()) })
    }

    fn is_reached(&self, event: usize) -> bool {
        let event = event as CUevent;
        let is_reached = unsafe { driver().cuEventQuery(event) } != CUDA_ERROR_NOT_READY;
        if is_reached {
            unsafe { driver().cuEventDestroy_v2(event) };
        }
        is_reached
    }

    fn set_sync_memops(&self, at: CUdeviceptr, on: bool) -> Answer<()> {
        let value = c_int::from(on);
        let value = (&raw const value).cast();
        check(unsafe {
            driver().cuPointerSetAttribute(value, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at)
        })
    }

    fn attribute(&self, attribute: u32, at: CUdeviceptr) -> Answer<Value> {
        let read = |fill: u8| {
            let mut bytes = [fill; 8];
            let data = bytes.as_mut_ptr().cast();
            check(unsafe { driver().cuPointerGetAttribute(data, attribute, at) })?;
            Answer::Ok(bytes)
        };
        // `cuda.h` does not say how long a boolean is: what the driver leaves alone is not part of it.
        let (one, other) = (read(0x5a)?, read(0xa5)?);
        let is_written = |index: &usize| one[*index] == other[*index];
        let len = (0..8).take_while(is_written).count();
        Ok(Value { bytes: one, len })
    }
}
