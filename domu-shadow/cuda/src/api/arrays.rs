//! Arrays: the driver's checkpoint carries them.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::core::current;
use crate::core::entry::own;
use crate::core::room::with_ours;
use crate::core::state::state;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, check};

/// Bytes of an element of a `CUarray_format`; of those in blocks and planes about as many.
fn format_bytes(format: c_uint) -> u64 {
    match format {
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => 1,
    }
}

fn bytes_of(array: &CUDA_ARRAY3D_DESCRIPTOR) -> u64 {
    let sizes = [array.width, array.height.max(1), array.depth.max(1)];
    let elements: u64 = sizes.iter().map(|size| *size as u64).product();
    elements * u64::from(array.channels) * format_bytes(array.format)
}

fn made(array: CUarray, bytes: u64) {
    let context = current::handle();
    state().counted.arrays.add(array as u64, context, bytes);
}

/// An array whose description the driver keeps.
fn made_as_described(array: CUarray) {
    let mut description = CUDA_ARRAY3D_DESCRIPTOR::default();
    let code = unsafe { driver().cuArray3DGetDescriptor_v2(&raw mut description, array) };
    if code == CUDA_SUCCESS {
        made(array, bytes_of(&description));
    }
}

fn end(array: CUarray, end: impl FnOnce() -> CUresult) -> Answer<()> {
    let counted = state().counted.arrays.remove(array as u64);
    check(end()).inspect_err(|_| {
        if let Some(counted) = counted {
            state().counted.arrays.put_back(array as u64, counted);
        }
    })
}

own! {
    fn cuArrayCreate(array: *mut CUarray, descriptor: *const c_void) driver {
        with_ours(|| unsafe { driver().cuArrayCreate(array, descriptor) })?;
        made_as_described(unsafe { array.read() });
        Ok(())
    }

    fn cuArrayCreate_v2(array: *mut CUarray, descriptor: *const CUDA_ARRAY_DESCRIPTOR) driver {
        with_ours(|| unsafe { driver().cuArrayCreate_v2(array, descriptor) })?;
        made_as_described(unsafe { array.read() });
        Ok(())
    }

    fn cuArray3DCreate(array: *mut CUarray, descriptor: *const c_void) driver {
        with_ours(|| unsafe { driver().cuArray3DCreate(array, descriptor) })?;
        made_as_described(unsafe { array.read() });
        Ok(())
    }

    fn cuArray3DCreate_v2(array: *mut CUarray, descriptor: *const CUDA_ARRAY3D_DESCRIPTOR) driver {
        with_ours(|| unsafe { driver().cuArray3DCreate_v2(array, descriptor) })?;
        made_as_described(unsafe { array.read() });
        Ok(())
    }

    fn cuArrayDestroy(array: CUarray) driver {
        end(array, || unsafe { driver().cuArrayDestroy(array) })
    }

    fn cuMipmappedArrayCreate(
        array: *mut CUmipmappedArray,
        descriptor: *const CUDA_ARRAY3D_DESCRIPTOR,
        levels: c_uint,
    ) driver {
        with_ours(|| unsafe { driver().cuMipmappedArrayCreate(array, descriptor, levels) })?;
        let first = bytes_of(unsafe { &*descriptor });
        // Each level has a quarter of the bytes of the one before, at least.
        made(unsafe { array.read() }, if levels > 1 { first + first / 3 } else { first });
        Ok(())
    }

    fn cuMipmappedArrayDestroy(array: CUmipmappedArray) driver {
        end(array, || unsafe { driver().cuMipmappedArrayDestroy(array) })
    }
}
