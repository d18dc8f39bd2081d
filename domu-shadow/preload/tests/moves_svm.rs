//! Shared virtual memory on a device that works on the process's own memory: it moves, addresses and all.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use common::moving::{alone, there_and_back, there_and_nearly_back};
use common::*;

/// Follows pointers that lie in the memory itself, and counts each link.
const WALK: &str = "
typedef struct link { __global struct link *next; uint count; } link;
__kernel void walk(__global link *at, __global uint *steps) {
    for (; at; at = at->next) { at->count++; steps[0]++; }
}";

#[repr(C)]
struct Link {
    next: *mut Link,
    count: u32,
}

fn allocate(gpu: &Gpu, bytes: usize) -> *mut c_void {
    let memory = call!(clSVMAlloc(gpu.context, CL_MEM_READ_WRITE, bytes, 0));
    assert!(
        !memory.is_null(),
        "this test needs a device with shared virtual memory"
    );
    memory
}

fn map(gpu: &Gpu, memory: *mut c_void, bytes: usize) {
    let flags = CL_MAP_READ | CL_MAP_WRITE;
    ok!(clEnqueueSVMMap(
        gpu.queue,
        CL_TRUE,
        flags,
        memory,
        bytes,
        0,
        null(),
        null_mut()
    ));
}

fn unmap(gpu: &Gpu, memory: *mut c_void) {
    ok!(clEnqueueSVMUnmap(gpu.queue, memory, 0, null(), null_mut()));
}

#[test]
fn pointers_in_it_and_to_it_stay_good() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (first, second) = (allocate(&gpu, 4096), allocate(&gpu, 1 << 20));
    let last = second.wrapping_byte_add(1 << 19);
    let links = [first, last, second].map(|at| at.cast::<Link>());
    for memory in [first, second] {
        map(&gpu, memory, 4096);
    }
    for (at, link) in links.iter().enumerate() {
        let next = links.get(at + 1).copied().unwrap_or(null_mut());
        // SAFETY: within the two allocations, which are mapped and used by this thread only.
        unsafe { link.write(Link { next, count: 0 }) };
    }
    for memory in [first, second] {
        unmap(&gpu, memory);
    }
    let kernel = gpu.kernel(WALK, "walk");
    let steps = gpu.buffer(CL_MEM_READ_WRITE, 4);
    gpu.write(steps, 0, &[0_u32]);
    ok!(clSetKernelArgSVMPointer(kernel, 0, first));
    set(kernel, 1, &steps);
    let pointers = [second];
    ok!(clSetKernelExecInfo(
        kernel,
        CL_KERNEL_EXEC_INFO_SVM_PTRS,
        8,
        pointers.as_ptr().cast()
    ));
    for moves in 1..=3_u32 {
        gpu.run(kernel, 1);
        there_and_back(moves % 2);
        gpu.run(kernel, 1);
        map(&gpu, first, 4096);
        map(&gpu, second, 1 << 20);
        for link in links {
            // SAFETY: mapped, and used by this thread only.
            assert_eq!(unsafe { (*link).count }, 2 * moves);
        }
        unmap(&gpu, first);
        unmap(&gpu, second);
        assert_eq!(gpu.read::<u32>(steps, 0, 1), [6 * moves]);
    }
    // A buffer over it, and copies of it.
    let over = make!(clCreateBuffer(
        gpu.context,
        CL_MEM_USE_HOST_PTR,
        4096,
        first
    ));
    let mut uses = 0_u32;
    ok!(clGetMemObjectInfo(
        over,
        CL_MEM_USES_SVM_POINTER,
        4,
        (&raw mut uses).cast(),
        null_mut()
    ));
    assert_eq!(uses, CL_TRUE);
    ok!(clReleaseMemObject(over));
    let mut copy = [0_u8; 16];
    ok!(clEnqueueSVMMemcpy(
        gpu.queue,
        CL_TRUE,
        copy.as_mut_ptr().cast(),
        first,
        16,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(copy[..8], (last as usize).to_ne_bytes());
    call!(clSVMFree(gpu.context, first));
    let mut pointers = [second];
    ok!(clEnqueueSVMFree(
        gpu.queue,
        1,
        pointers.as_mut_ptr(),
        None,
        null_mut(),
        0,
        null(),
        null_mut()
    ));
    gpu.finish();
    there_and_back(0);
    ok!(clReleaseMemObject(steps));
    ok!(clReleaseKernel(kernel));
}

/// The program writes the memory while contents arrive: what a buffer over it had before is older.
#[test]
fn nothing_arrives_over_what_came_with_the_process() {
    let _alone = alone();
    let gpu = Gpu::new();
    let memory = allocate(&gpu, 4096);
    let over = make!(clCreateBuffer(
        gpu.context,
        CL_MEM_USE_HOST_PTR,
        4096,
        memory
    ));
    gpu.write(over, 0, &[1_u32; 1024]);
    let (arriving, store) = there_and_nearly_back(0);
    let words = memory.cast::<u32>();
    // SAFETY: memory of 4096 bytes, which nothing uses now.
    unsafe { words.add(7).write(2) };
    store.give_back(arriving);
    // SAFETY: as above.
    let read = unsafe { [words.add(6).read(), words.add(7).read()] };
    assert_eq!(read, [1, 2]);
    assert_eq!(gpu.read::<u32>(over, 24, 2), [1, 2]);
    ok!(clReleaseMemObject(over));
    call!(clSVMFree(gpu.context, memory));
}

#[test]
fn what_a_driver_refuses_stays_refused() {
    let gpu = Gpu::new();
    let nothing = [
        call!(clSVMAlloc(null_mut(), CL_MEM_READ_WRITE, 4096, 0)),
        call!(clSVMAlloc(gpu.context, CL_MEM_READ_WRITE, 0, 0)),
        call!(clSVMAlloc(gpu.context, CL_MEM_READ_WRITE, 4096, 3)),
        call!(clSVMAlloc(gpu.context, CL_MEM_SVM_ATOMICS, 4096, 0)),
    ];
    assert_eq!(nothing, [null_mut(); 4]);
}

/// Newer drivers take commands on memory of their own only, which ours is not.
#[test]
fn every_command_works_on_it() {
    let _alone = alone();
    let gpu = Gpu::new();
    let memory = allocate(&gpu, 4096);
    let fill = |to: *mut c_void, pattern: &[u8], bytes: usize, event: *mut cl_event| {
        call!(clEnqueueSVMMemFill(
            gpu.queue,
            to,
            pattern.as_ptr().cast(),
            pattern.len(),
            bytes,
            0,
            null(),
            event
        ))
    };
    let pattern: Vec<u8> = (1..=128).collect();
    let mut filled = null_mut();
    assert_eq!(fill(memory, &pattern, 4096, &raw mut filled), CL_SUCCESS);
    let inside = memory.wrapping_byte_add(8);
    assert_eq!(fill(inside, &[9, 8], 4, null_mut()), CL_SUCCESS);
    for (to, length, bytes) in [
        (inside, 16, 64),
        (memory, 3, 6),
        (memory, 4, 6),
        (memory, 4, 0),
    ] {
        let answer = fill(to, &pattern[..length], bytes, null_mut());
        assert_eq!(answer, CL_INVALID_VALUE, "{length} bytes, {bytes} in all");
    }
    let mut kind = 0;
    ok!(clGetEventInfo(
        filled,
        CL_EVENT_COMMAND_TYPE,
        4,
        (&raw mut kind).cast(),
        null_mut()
    ));
    assert_eq!(kind, CL_COMMAND_SVM_MEMFILL);
    map(&gpu, memory, 4096);
    // SAFETY: mapped, and used by this thread only.
    let bytes = unsafe { std::slice::from_raw_parts(memory.cast::<u8>(), 4096) };
    assert_eq!(bytes[..14], [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 9, 8, 13, 14]);
    assert_eq!(bytes[4096 - 128..], pattern);
    unmap(&gpu, memory);
    let mut pointers = [memory.cast_const()];
    ok!(clEnqueueSVMMigrateMem(
        gpu.queue,
        1,
        pointers.as_mut_ptr(),
        null(),
        0,
        1,
        &raw const filled,
        null_mut()
    ));
    // A fill that the program holds back, behind a move.
    let gate = make!(clCreateUserEvent(gpu.context));
    ok!(clEnqueueSVMMemFill(
        gpu.queue,
        memory,
        [7_u8].as_ptr().cast(),
        1,
        4096,
        1,
        &raw const gate,
        null_mut()
    ));
    there_and_back(0);
    ok!(clSetUserEventStatus(gate, CL_COMPLETE));
    map(&gpu, memory, 4096);
    // SAFETY: as above.
    let bytes = unsafe { std::slice::from_raw_parts(memory.cast::<u8>(), 4096) };
    assert_eq!(bytes, [7; 4096]);
    unmap(&gpu, memory);
    gpu.finish();
    ok!(clReleaseEvent(gate));
    ok!(clReleaseEvent(filled));
    call!(clSVMFree(gpu.context, memory));
}
