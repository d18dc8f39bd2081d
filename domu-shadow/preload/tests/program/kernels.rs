//! Kernels: arguments, local memory, tasks.

use crate::common::*;
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

#[test]
fn adds_vectors() {
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 4096),
        gpu.buffer(CL_MEM_READ_ONLY, 4096),
    );
    let ones: Vec<f32> = (0..1024).map(|i| i as f32).collect();
    gpu.write(a, 0, &ones);
    gpu.write(b, 0, &ones);
    let kernel = gpu.kernel(ADD, "add");
    set(kernel, 0, &a);
    set(kernel, 1, &b);
    set(kernel, 2, &0.5_f32);
    gpu.run(kernel, 1024);
    let sums: Vec<f32> = gpu.read(a, 0, 1024);
    assert!(
        sums.iter()
            .enumerate()
            .all(|(i, &sum)| sum == 2.0 * i as f32 + 0.5)
    );
    for buffer in [a, b] {
        ok!(clReleaseMemObject(buffer));
    }
    ok!(clReleaseKernel(kernel));
}

#[test]
fn local_memory_and_task_and_all_kernels() {
    let gpu = Gpu::new();
    let program = gpu.built(ADD);
    let mut count = 0;
    ok!(clCreateKernelsInProgram(
        program,
        0,
        null_mut(),
        &raw mut count
    ));
    assert_eq!(count, 2);
    let mut kernels = [null_mut(); 2];
    ok!(clCreateKernelsInProgram(
        program,
        2,
        kernels.as_mut_ptr(),
        null_mut()
    ));
    let name = |kernel: Handle| {
        let mut name = [0_u8; 16];
        ok!(clGetKernelInfo(
            kernel,
            CL_KERNEL_FUNCTION_NAME,
            16,
            name.as_mut_ptr().cast(),
            null_mut()
        ));
        CStr::from_bytes_until_nul(&name).unwrap().to_owned()
    };
    let twice = *kernels
        .iter()
        .find(|&&kernel| name(kernel).as_c_str() == c"twice")
        .unwrap();
    let a = gpu.buffer(CL_MEM_READ_WRITE, 64 * 4);
    gpu.write(a, 0, &[21_u32; 64]);
    set(twice, 0, &a);
    ok!(clSetKernelArg(twice, 1, 16 * 4, null()));
    let (global, local) = (64_usize, 16_usize);
    ok!(clEnqueueNDRangeKernel(
        gpu.queue,
        twice,
        1,
        null(),
        &raw const global,
        &raw const local,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(gpu.read::<u32>(a, 0, 64), [42; 64]);
    ok!(clEnqueueTask(gpu.queue, twice, 0, null(), null_mut()));
    assert_eq!(gpu.read::<u32>(a, 0, 2), [84, 42]);
    let mut program_of = null_mut::<c_void>();
    ok!(clGetKernelInfo(
        twice,
        CL_KERNEL_PROGRAM,
        8,
        (&raw mut program_of).cast(),
        null_mut()
    ));
    assert_eq!(program_of, program);
}
