//! Memory objects: making, holding, asking.

use std::ffi::c_void;

use opencl_sys::{
    CL_BUFFER_CREATE_TYPE_REGION, CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR, CL_INVALID_PROPERTY,
    CL_INVALID_VALUE, CL_MEM_ASSOCIATED_MEMOBJECT, CL_MEM_CONTEXT, CL_MEM_DEVICE_ADDRESS_EXT,
    CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT, CL_MEM_FLAGS, CL_MEM_HOST_PTR, CL_MEM_MAP_COUNT,
    CL_MEM_OFFSET, CL_MEM_PROPERTIES, CL_MEM_REFERENCE_COUNT, CL_MEM_SIZE, CL_MEM_TYPE,
    CL_MEM_USES_SVM_POINTER,
};

use crate::call::{creators, entry_points};
use crate::callback::Notify;
use crate::core::context::Context;
use crate::core::mem::Mem;
use crate::ffi::{HostIn, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;

type DestroyNotify = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

creators! {
    fn clCreateBuffer(context: *mut c_void, flags: u64, size: usize, host: HostOut) {
        Mem::buffer(handle::get::<Context>(context)?, flags, size, host, Vec::new())
    }

    fn clCreateBufferWithProperties(
        context: *mut c_void,
        properties: In<u64>,
        flags: u64,
        size: usize,
        host: HostOut,
    ) {
        let context = handle::get::<Context>(context)?;
        let properties = properties.until_zero(2);
        let known = [CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT, CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR.into()];
        if properties.chunks_exact(2).any(|pair| !known.contains(&pair[0])) {
            return Err(CL_INVALID_PROPERTY);
        }
        Mem::buffer(context, flags, size, host, properties)
    }

    fn clCreateSubBuffer(buffer: *mut c_void, flags: u64, create_type: u32, info: HostIn) {
        let parent = handle::get::<Mem>(buffer)?;
        let info = info.bytes(2 * size_of::<usize>()).filter(|_| create_type == CL_BUFFER_CREATE_TYPE_REGION);
        let info = info.ok_or(CL_INVALID_VALUE)?;
        let word = |at: usize| {
            let bytes = info[at * size_of::<usize>()..][..size_of::<usize>()].try_into();
            usize::from_ne_bytes(bytes.unwrap_or_default())
        };
        Mem::sub_buffer(parent, flags, word(0), word(1))
    }
}

entry_points! {
    fn clRetainMemObject(mem: *mut c_void) {
        handle::retain::<Mem>(mem)
    }

    fn clReleaseMemObject(mem: *mut c_void) {
        handle::release::<Mem>(mem)
    }

    fn clSetMemObjectDestructorCallback(mem: *mut c_void, notify: DestroyNotify, user_data: *mut c_void) {
        let mem = handle::get::<Mem>(mem)?;
        let notify = Notify::new(notify, user_data).ok_or(CL_INVALID_VALUE)?;
        mem.destructors.add(notify);
        Ok(())
    }

    fn clGetMemObjectInfo(mem: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let mem = handle::get::<Mem>(mem)?;
        let answer = Answer::new(size, value, size_ret);
        let parent = mem.parent.as_ref().map_or(std::ptr::null_mut(), |parent| parent.slot.handle());
        let spec = mem.context.devices[0].platform.spec;
        match name {
            CL_MEM_TYPE => answer.value(mem.kind),
            CL_MEM_FLAGS => answer.value(mem.flags),
            CL_MEM_SIZE => answer.value(mem.size),
            CL_MEM_HOST_PTR => answer.value(mem.host_address),
            CL_MEM_MAP_COUNT => answer.value(mem.mappings.count()),
            CL_MEM_REFERENCE_COUNT => answer.value(mem.slot.references()),
            CL_MEM_CONTEXT => answer.value(mem.context.slot.handle()),
            CL_MEM_ASSOCIATED_MEMOBJECT => answer.value(parent),
            CL_MEM_OFFSET => answer.value(mem.offset),
            CL_MEM_USES_SVM_POINTER if spec >= (2, 0) => answer.value(false),
            CL_MEM_DEVICE_ADDRESS_EXT if mem.property(CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT) == Some(1) => {
                answer.value(mem.memory.address(0))
            }
            CL_MEM_PROPERTIES if spec >= (3, 0) => answer.list(&mem.properties),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
