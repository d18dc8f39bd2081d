//! Shared virtual memory works, and a process that has some says why it cannot be moved. Alone in its process: it
//! cannot be moved ever after.

mod common;

use common::*;
use std::ptr::{null, null_mut};
use xl_gpu_shadow::mover::{self, MoveError};

#[test]
fn shared_virtual_memory_works_and_is_a_reason() {
    let gpu = Gpu::new();
    assert_eq!(mover::blocked(), None);
    let memory = call!(clSVMAlloc(gpu.context, CL_MEM_READ_WRITE, 4096, 0)).cast::<u32>();
    assert!(
        !memory.is_null(),
        "this test needs a device with shared virtual memory"
    );
    let refused = call!(clSVMAlloc(null_mut(), CL_MEM_READ_WRITE, 4096, 0));
    assert!(refused.is_null());
    let seven = 7_u32;
    ok!(clEnqueueSVMMemFill(
        gpu.queue,
        memory.cast(),
        (&raw const seven).cast(),
        4,
        4096,
        0,
        null(),
        null_mut()
    ));
    let kernel = gpu.kernel(COUNT, "count");
    ok!(clSetKernelArgSVMPointer(kernel, 0, memory.cast()));
    gpu.run(kernel, 1024);
    let mut copy = [0_u32; 1024];
    ok!(clEnqueueSVMMemcpy(
        gpu.queue,
        CL_TRUE,
        copy.as_mut_ptr().cast(),
        memory.cast(),
        4096,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(copy, [8; 1024]);
    ok!(clEnqueueSVMMap(
        gpu.queue,
        CL_TRUE,
        CL_MAP_WRITE,
        memory.cast(),
        4096,
        0,
        null(),
        null_mut()
    ));
    // SAFETY: mapped, and used by this thread only.
    assert_eq!(unsafe { *memory }, 8);
    ok!(clEnqueueSVMUnmap(
        gpu.queue,
        memory.cast(),
        0,
        null(),
        null_mut()
    ));
    gpu.finish();
    call!(clSVMFree(gpu.context, memory.cast()));
    assert!(
        matches!(mover::begin(), Err(MoveError::Blocked(why)) if why == "shared virtual memory")
    );
    ok!(clReleaseKernel(kernel));
}
