//! Queries about pointers and ranges: they answer as the plain driver does, also after a move.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::core::answers::answer;
use crate::core::entry::own;
use crate::core::state::{Locked, state};
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Value, check};

/// # Safety
/// There is room for the value.
unsafe fn write(data: *mut c_void, value: &Value) {
    unsafe { std::ptr::copy_nonoverlapping(value.bytes.as_ptr(), data.cast(), value.len) };
}

/// The allocation of ours around an address: the driver knows a mapping.
fn range_of_ours(at: CUdeviceptr) -> Option<(CUdeviceptr, usize)> {
    let state = state();
    let (base, allocation, _) = state.allocations.ordinary_around(at)?;
    Some((base, allocation.asked))
}

/// Writes what the program asks for.
///
/// # Safety
/// Each is `NULL` or valid.
unsafe fn give<T>(to: *mut T, value: T) {
    if !to.is_null() {
        unsafe { to.write(value) };
    }
}

/// Remembers that memory synchronises the copies that touch it.
fn note_sync_memops(state: &mut Locked, at: CUdeviceptr, on: bool) {
    if let Some((base, _)) = state.allocations.around(at) {
        let allocation = state.allocations.get_mut(base);
        if let Some(ordinary) = allocation.and_then(|allocation| allocation.ordinary_mut()) {
            ordinary.sync_memops = on;
        }
    } else if let Some((base, _)) = state.virtual_memory.around(at)
        && let Some(mapping) = state.virtual_memory.mapping_mut(base)
    {
        mapping.sync_memops = on;
    }
}

/// Whether memory of ours has the value already that the driver lets nobody set for mapped memory.
fn is_set(value: *const c_void, attribute: c_uint, at: CUdeviceptr) -> bool {
    if attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || range_of_ours(at).is_none() {
        return false;
    }
    let mut is = 0_u32;
    let to = (&raw mut is).cast();
    let asked = check(unsafe { driver().cuPointerGetAttribute(to, attribute, at) });
    asked.is_ok() && is == unsafe { value.cast::<c_uint>().read_unaligned() }
}

fn truncated<T, U: TryFrom<T>>(value: T) -> Answer<U> {
    U::try_from(value).map_err(|_| CUDA_ERROR_INVALID_VALUE)
}

own! {
    fn cuMemGetAddressRange_v2(base: *mut CUdeviceptr, size: *mut usize, at: CUdeviceptr) driver {
        let Some((start, asked)) = range_of_ours(at) else {
            return check(unsafe { driver().cuMemGetAddressRange_v2(base, size, at) });
        };
        unsafe { give(base, start) };
        unsafe { give(size, asked) };
        Ok(())
    }

    fn cuMemGetAddressRange(base: *mut c_uint, size: *mut c_uint, at: c_uint) driver {
        let Some((start, asked)) = range_of_ours(at.into()) else {
            return check(unsafe { driver().cuMemGetAddressRange(base, size, at) });
        };
        unsafe { give(base, truncated(start)?) };
        unsafe { give(size, truncated(asked)?) };
        Ok(())
    }

    fn cuPointerGetAttribute(data: *mut c_void, attribute: c_uint, at: CUdeviceptr) driver {
        let known = answer(&state(), attribute, at);
        match known {
            Some(_) if data.is_null() => Err(CUDA_ERROR_INVALID_VALUE),
            Some(answer) => {
                unsafe { write(data, &answer?) };
                Ok(())
            }
            None => check(unsafe { driver().cuPointerGetAttribute(data, attribute, at) }),
        }
    }

    fn cuPointerGetAttributes(
        count: c_uint,
        attributes: *mut c_uint,
        data: *mut *mut c_void,
        at: CUdeviceptr,
    ) driver {
        check(unsafe { driver().cuPointerGetAttributes(count, attributes, data, at) })?;
        let state = state();
        for index in 0..count as usize {
            let attribute = unsafe { attributes.add(index).read() };
            // What the driver has no answer for is zero here, and no error.
            if let Some(Ok(value)) = answer(&state, attribute, at) {
                unsafe { write(data.add(index).read(), &value) };
            }
        }
        Ok(())
    }

    fn cuPointerSetAttribute(value: *const c_void, attribute: c_uint, at: CUdeviceptr) driver {
        let set = check(unsafe { driver().cuPointerSetAttribute(value, attribute, at) });
        if set == Err(CUDA_ERROR_NOT_SUPPORTED) && is_set(value, attribute, at) {
            return Ok(());
        }
        set?;
        if attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS {
            let on = unsafe { value.cast::<c_uint>().read_unaligned() } != 0;
            note_sync_memops(&mut state(), at, on);
        }
        Ok(())
    }

    /// Devices that have it reach the memory behind our back.
    fn cuMemGetHandleForAddressRange(
        handle: *mut c_void,
        at: CUdeviceptr,
        size: usize,
        kind: c_uint,
        flags: u64,
    ) driver {
        check(unsafe { driver().cuMemGetHandleForAddressRange(handle, at, size, kind, flags) })?;
        runtime::blocked::block("device memory given to other devices (cuMemGetHandleForAddressRange)");
        Ok(())
    }
}
