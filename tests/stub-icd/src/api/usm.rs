//! Unified shared memory (`cl_intel_unified_shared_memory`), and kernel arguments by address (`cl_ext_buffer_device_address`): the
//! host and the device have the same memory.

use std::ffi::c_void;

use opencl_sys::*;

use crate::call::{creators, entry_points};
use crate::core::addresses::Allocation;
use crate::core::command::Order;
use crate::core::context::Context;
use crate::core::enqueue::Enqueue;
use crate::core::kernel::Kernel;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostIn, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;
use crate::memory::Memory;

fn allocate(
    context: *mut c_void,
    device: *mut c_void,
    size: usize,
    kind: u32,
) -> CLResult<*mut c_void> {
    let context = handle::get::<Context>(context)?;
    // "device may be NULL" for shared memory.
    let may_be_null = kind != CL_MEM_TYPE_DEVICE_INTEL;
    let device = match may_be_null && device.is_null() {
        true => None,
        false => Some(context.device(device)?),
    };
    if size == 0 {
        return Err(CL_INVALID_BUFFER_SIZE);
    }
    let memory = Memory::device(size)?;
    let address = memory.address(0);
    let base = address.expose_provenance();
    context.addresses.add(Allocation {
        memory,
        base,
        size,
        kind,
        device,
    });
    Ok(address)
}

fn free(context: *mut c_void, memory: HostOut) -> CLResult<()> {
    let context = handle::get::<Context>(context)?;
    let freed = context.addresses.remove(memory.address().addr());
    freed.map(drop).ok_or(CL_INVALID_VALUE)
}

creators! {
    fn clHostMemAllocINTEL(context: *mut c_void, properties: In<u64>, size: usize, alignment: u32) {
        let _ = (properties, alignment);
        allocate(context, std::ptr::null_mut(), size, CL_MEM_TYPE_HOST_INTEL)
    }

    fn clDeviceMemAllocINTEL(
        context: *mut c_void, device: *mut c_void, properties: In<u64>, size: usize, alignment: u32,
    ) {
        let _ = (properties, alignment);
        allocate(context, device, size, CL_MEM_TYPE_DEVICE_INTEL)
    }

    fn clSharedMemAllocINTEL(
        context: *mut c_void, device: *mut c_void, properties: In<u64>, size: usize, alignment: u32,
    ) {
        let _ = (properties, alignment);
        allocate(context, device, size, CL_MEM_TYPE_SHARED_INTEL)
    }
}

entry_points! {
    fn clMemFreeINTEL(context: *mut c_void, memory: HostOut) {
        free(context, memory)
    }

    fn clMemBlockingFreeINTEL(context: *mut c_void, memory: HostOut) {
        free(context, memory)
    }

    fn clGetMemAllocInfoINTEL(
        context: *mut c_void, memory: HostIn, name: u32, size: usize, value: HostOut, size_ret: Out<usize>,
    ) {
        let context = handle::get::<Context>(context)?;
        let answer = Answer::new(size, value, size_ret);
        let found = context.addresses.allocation(memory.address().addr());
        let found = found.as_ref();
        match name {
            CL_MEM_ALLOC_TYPE_INTEL => answer.value(found.map_or(CL_MEM_TYPE_UNKNOWN_INTEL, |one| one.kind)),
            CL_MEM_ALLOC_BASE_PTR_INTEL => answer.value(found.map_or(0, |one| one.base)),
            CL_MEM_ALLOC_SIZE_INTEL => answer.value(found.map_or(0, |one| one.size)),
            CL_MEM_ALLOC_DEVICE_INTEL => {
                let device = found.and_then(|one| one.device.as_ref());
                answer.value(device.map_or(std::ptr::null_mut(), |device| device.slot.handle()))
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clSetKernelArgMemPointerINTEL(kernel: *mut c_void, index: u32, memory: HostIn) {
        handle::get::<Kernel>(kernel)?.set_address(index as usize, memory.address().addr())
    }

    fn clSetKernelArgDevicePointerEXT(kernel: *mut c_void, index: u32, address: u64) {
        handle::get::<Kernel>(kernel)?.set_address(index as usize, address as usize)
    }

    fn clEnqueueMemFillINTEL(
        queue: *mut c_void, to: HostOut, pattern: HostIn, pattern_size: usize, size: usize, num_events: u32,
        events: In<cl_event>, event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let pattern = pattern.bytes(pattern_size).ok_or(CL_INVALID_VALUE)?;
        let to = Memory::of_program(to, size);
        let work = move || to.fill(0, &pattern, size);
        enqueue.submit(&queue, CL_COMMAND_MEMFILL_INTEL, Order::Free, Box::new(work))
    }

    fn clEnqueueMemcpyINTEL(
        queue: *mut c_void, blocking: u32, to: HostOut, from: HostIn, size: usize, num_events: u32,
        events: In<cl_event>, event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let (to, from) = (Memory::of_program(to, size), Memory::of_input(from, size));
        let work = move || to.copy_from(0, &from, 0, size);
        enqueue.submit(&queue, CL_COMMAND_MEMCPY_INTEL, Order::Free, Box::new(work))
    }

    fn clEnqueueMigrateMemINTEL(
        queue: *mut c_void, memory: HostIn, size: usize, flags: u64, num_events: u32, events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (memory, size, flags);
        let queue = handle::get::<Queue>(queue)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        enqueue.submit(&queue, CL_COMMAND_MIGRATEMEM_INTEL, Order::Free, Box::new(|| Ok(())))
    }

    fn clEnqueueMemAdviseINTEL(
        queue: *mut c_void, memory: HostIn, size: usize, advice: u32, num_events: u32, events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let _ = (memory, size, advice);
        let queue = handle::get::<Queue>(queue)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        enqueue.submit(&queue, CL_COMMAND_MEMADVISE_INTEL, Order::Free, Box::new(|| Ok(())))
    }
}
