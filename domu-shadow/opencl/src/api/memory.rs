//! Memory objects: creation, references, queries.

use std::ffi::c_void;

use opencl_sys::{
    CL_BUFFER_CREATE_TYPE_REGION, CL_INVALID_BUFFER_SIZE, CL_INVALID_HOST_PTR,
    CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, CL_MEM_ALLOC_HOST_PTR, CL_MEM_ASSOCIATED_MEMOBJECT,
    CL_MEM_CONTEXT, CL_MEM_COPY_HOST_PTR, CL_MEM_FLAGS, CL_MEM_HOST_PTR, CL_MEM_MAP_COUNT,
    CL_MEM_PROPERTIES, CL_MEM_REFERENCE_COUNT, CL_MEM_USE_HOST_PTR, CL_MEM_USES_SVM_POINTER,
    CL_TRUE, cl_buffer_create_type, cl_buffer_region, cl_context, cl_mem, cl_mem_flags,
    cl_mem_info, cl_mem_properties,
};

use super::entry::entry;
use super::properties;
use crate::CLResult;
use crate::core::destructor_callbacks::Destructor;
use crate::core::mem::{HOST_ACCESS, HOST_POINTER, Properties};
use crate::core::{Context, Mem, Object, handle, svm};
use crate::driver::dispatch::ask;
use crate::driver::query;

/// The checks of flags that the driver does not get to see as the program passed them.
pub fn check_flags(flags: cl_mem_flags, host: *mut c_void) -> CLResult<()> {
    let both = |a, b| flags & a != 0 && flags & b != 0;
    if (flags & HOST_ACCESS).count_ones() > 1
        || both(CL_MEM_USE_HOST_PTR, CL_MEM_ALLOC_HOST_PTR)
        || both(CL_MEM_USE_HOST_PTR, CL_MEM_COPY_HOST_PTR)
    {
        return Err(CL_INVALID_VALUE);
    }
    let wants_host = flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR) != 0;
    if wants_host == host.is_null() {
        Err(CL_INVALID_HOST_PTR)
    } else {
        Ok(())
    }
}

fn create(
    context: cl_context,
    flags: cl_mem_flags,
    size: usize,
    host: *mut c_void,
    properties: Properties,
) -> CLResult<*mut c_void> {
    let context = handle::share::<Context>(context)?;
    let refused = |code| Err(Mem::refusal(&context, flags, size, host).unwrap_or(code));
    if let Err(code) = check_flags(flags, host) {
        return refused(code);
    }
    if size == 0 {
        return refused(CL_INVALID_BUFFER_SIZE);
    }
    if flags & CL_MEM_USE_HOST_PTR != 0 && svm::is_smaller(&context, host as usize, size) {
        return Err(CL_INVALID_BUFFER_SIZE);
    }
    Ok(handle::publish(Mem::create(
        context, flags, size, host, properties,
    )?))
}

entry! {
    fn clCreateBuffer(
        _caller,
        context: cl_context,
        flags: cl_mem_flags,
        size: usize,
        host: *mut c_void,
    ) -> object {
        create(context, flags, size, host, Properties::default())
    }

    fn clCreateBufferWithProperties(
        caller,
        context: cl_context,
        properties: *const cl_mem_properties,
        flags: cl_mem_flags,
        size: usize,
        host: *mut c_void,
    ) -> object {
        create(context, flags, size, host, properties::of_memory(caller, properties)?)
    }

    fn clCreateSubBuffer(
        caller,
        buffer: cl_mem,
        flags: cl_mem_flags,
        create_type: cl_buffer_create_type,
        info: *const c_void,
    ) -> object {
        let parent = handle::share::<Mem>(buffer)?;
        if parent.parent.is_some() || parent.image().is_some() {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        let given = flags & HOST_ACCESS;
        let allowed = parent.flags & HOST_ACCESS;
        if create_type != CL_BUFFER_CREATE_TYPE_REGION
            || flags & HOST_POINTER != 0
            || given.count_ones() > 1
            || (given != 0 && allowed != 0 && given != allowed)
        {
            return Err(CL_INVALID_VALUE);
        }
        let region = *caller.list(info.cast::<cl_buffer_region>(), 1).first().ok_or(CL_INVALID_VALUE)?;
        if region.size == 0 {
            return Err(CL_INVALID_BUFFER_SIZE);
        }
        if region.origin.checked_add(region.size).is_none_or(|end| end > parent.size) {
            return Err(CL_INVALID_VALUE);
        }
        Ok(handle::publish(Mem::create_sub(parent, flags, region.origin, region.size)?))
    }

    fn clRetainMemObject(_caller, mem: cl_mem) -> status {
        handle::retain::<Mem>(mem)
    }

    #[drains]
    fn clReleaseMemObject(_caller, mem: cl_mem) -> status {
        handle::release::<Mem>(mem)
    }

    fn clSetMemObjectDestructorCallback(
        caller,
        mem: cl_mem,
        call: Option<Destructor>,
        user: *mut c_void,
    ) -> status {
        let mem = handle::borrow::<Mem>(caller, mem)?;
        mem.destructors.add(call.ok_or(CL_INVALID_VALUE)?, user as usize);
        Ok(())
    }

    fn clGetMemObjectInfo(caller, answer, mem: cl_mem, parameter: cl_mem_info) -> info {
        let mem = handle::borrow::<Mem>(caller, mem)?;
        let real = mem.real.get();
        let ask: query::Ask<'_> = ask!(real, clGetMemObjectInfo(real, parameter));
        match parameter {
            CL_MEM_CONTEXT => answer.handle(mem.context.slot().handle()),
            CL_MEM_REFERENCE_COUNT => answer.uint(mem.slot().references()),
            CL_MEM_MAP_COUNT => answer.uint(mem.maps().count(mem.slot().id()) as u32),
            CL_MEM_HOST_PTR => answer.handle(mem.program_pointer()),
            CL_MEM_ASSOCIATED_MEMOBJECT => {
                answer.handle(mem.parent.as_ref().map_or(std::ptr::null_mut(), |parent| parent.slot().handle()))
            }
            // What the driver adds (a default access) stays, what it was not told comes from us.
            CL_MEM_FLAGS => {
                let hidden = HOST_ACCESS | HOST_POINTER;
                answer.long(query::number(ask)? & !hidden | mem.flags & hidden)
            }
            CL_MEM_PROPERTIES => {
                let given = Some(&mem.properties.given).filter(|list| list.len() > 1);
                answer.longs(given.map(|list| list.iter().copied()))
            }
            CL_MEM_USES_SVM_POINTER if svm::contains(mem.program_pointer() as usize) => answer.uint(CL_TRUE),
            _ => answer.driver(ask),
        }
    }
}
