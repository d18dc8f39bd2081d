//! Reserving addresses, making physical memory, and mapping the one to the other.

use std::ffi::{c_int, c_uint, c_ulonglong, c_void};
use std::os::fd::{BorrowedFd, IntoRawFd};

use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::device;
use crate::ffi::{get, list, put};
use crate::memory::addresses::GRANULE;
use crate::memory::{physical, reserved, space};

entry_points! {
    fn cuMemAddressReserve(out: *mut CUdeviceptr, size: usize, alignment: usize, wanted: CUdeviceptr, flags: c_ulonglong) {
        if out.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, reserved::reserve(size as u64, alignment as u64, wanted, flags)?)
    }

    fn cuMemAddressFree(at: CUdeviceptr, size: usize) {
        reserved::free(at, size as u64)
    }

    fn cuMemCreate(out: *mut c_ulonglong, size: usize, properties: *const CUmemAllocationProp, flags: c_ulonglong) {
        let properties = get(properties)?;
        if out.is_null() || flags != 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, physical::create(size as u64, properties)? as c_ulonglong)
    }

    fn cuMemRelease(handle: c_ulonglong) {
        physical::release(handle as Handle)
    }

    fn cuMemMap(at: CUdeviceptr, size: usize, offset: usize, handle: c_ulonglong, flags: c_ulonglong) {
        reserved::map(at, size as u64, offset as u64, handle as Handle, flags)
    }

    fn cuMemUnmap(at: CUdeviceptr, size: usize) {
        reserved::unmap(at, size as u64)
    }

    fn cuMemSetAccess(at: CUdeviceptr, size: usize, wanted: *const CUmemAccessDesc, count: usize) {
        if count == 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        reserved::set_access(at, size as u64, &list(wanted, count)?)
    }

    fn cuMemGetAccess(flags: *mut c_ulonglong, location: *const CUmemLocation, at: CUdeviceptr) {
        let location = get(location)?;
        let mapping = space::find(at).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        let access = match location.kind {
            CU_MEM_LOCATION_TYPE_DEVICE => mapping.access[device::get(location.id)?.ordinal],
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        };
        put(flags, access.into())
    }

    fn cuMemGetAllocationGranularity(out: *mut usize, properties: *const CUmemAllocationProp, option: c_uint) {
        physical::check(&get(properties)?)?;
        match option {
            0 | 1 => put(out, GRANULE as usize),
            _ => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn cuMemGetAllocationPropertiesFromHandle(out: *mut CUmemAllocationProp, handle: c_ulonglong) {
        put(out, physical::get(handle as Handle)?.properties)
    }

    fn cuMemRetainAllocationHandle(out: *mut c_ulonglong, at: *mut c_void) {
        if out.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        put(out, physical::retain(at.expose_provenance() as u64)? as c_ulonglong)
    }

    fn cuMemExportToShareableHandle(out: *mut c_void, handle: c_ulonglong, kind: c_uint, flags: c_ulonglong) {
        if kind != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || flags != 0 || out.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // The contents move into a file at the first time.
        if let Ok(context) = context::current() {
            context.synchronize()?;
        }
        put(out.cast::<c_int>(), physical::export(handle as Handle)?.into_raw_fd())
    }

    fn cuMemImportFromShareableHandle(out: *mut c_ulonglong, shared: *mut c_void, kind: c_uint) {
        if kind != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR || out.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let number = shared.expose_provenance() as c_int;
        if number < 0 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the caller's descriptor, open for the time of the call; a number that is none makes the copy fail.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let file = file.try_clone_to_owned().map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        put(out, physical::import(file)? as c_ulonglong)
    }
}
