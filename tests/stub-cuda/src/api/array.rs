//! Arrays.

use crate::abi::*;
use crate::array;
use crate::call::entry_points;
use crate::context;
use crate::ffi::{get, put};

fn create(out: *mut Handle, shape: CUarray3DDescriptor) -> Outcome<()> {
    let context = context::current()?;
    if out.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(out, array::create(context.handle, context.device, shape)?)
}

entry_points! {
    fn cuArrayCreate_v2(out: *mut Handle, shape: *const CUarrayDescriptor) {
        let shape = get(shape)?;
        create(out, CUarray3DDescriptor {
            width: shape.width,
            height: shape.height,
            depth: 0,
            format: shape.format,
            channels: shape.channels,
            flags: 0,
        })
    }

    fn cuArray3DCreate_v2(out: *mut Handle, shape: *const CUarray3DDescriptor) {
        create(out, get(shape)?)
    }

    fn cuArrayGetDescriptor_v2(out: *mut CUarrayDescriptor, handle: Handle) {
        let shape = array::get(handle)?.shape;
        put(out, CUarrayDescriptor {
            width: shape.width,
            height: shape.height,
            format: shape.format,
            channels: shape.channels,
        })
    }

    fn cuArray3DGetDescriptor_v2(out: *mut CUarray3DDescriptor, handle: Handle) {
        put(out, array::get(handle)?.shape)
    }

    fn cuArrayDestroy(handle: Handle) {
        let context = context::current()?;
        context.synchronize()?;
        array::destroy(handle)
    }
}
