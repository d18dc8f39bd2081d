//! Programs over a move: made again as they were, and as good as new afterwards.

mod common;

use common::moving::{alone, begin, there_and_back};
use common::*;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

const VALUE: &str = "
#ifndef X
#define X 7
#endif
__kernel void value(__global int *out) { out[get_global_id(0)] = X; }
__kernel void sum(__global int *out, int by, ulong more) { out[get_global_id(0)] += by + more; }";

fn build(program: Handle, options: &CStr) {
    ok!(clBuildProgram(
        program,
        0,
        null(),
        options.as_ptr(),
        None,
        null_mut()
    ));
}

fn value_of(gpu: &Gpu, program: Handle) -> i32 {
    let kernel = make!(clCreateKernel(program, c"value".as_ptr()));
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    set(kernel, 0, &buffer);
    gpu.run(kernel, 16);
    let value = gpu.read::<i32>(buffer, 0, 1)[0];
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
    value
}

#[test]
fn a_build_after_a_move_takes_its_options() {
    let _alone = alone();
    let gpu = Gpu::new();
    let program = gpu.program(VALUE);
    build(program, c"-DX=1");
    assert_eq!(value_of(&gpu, program), 1);
    there_and_back(0);
    assert_eq!(value_of(&gpu, program), 1);
    build(program, c"-DX=2");
    assert_eq!(value_of(&gpu, program), 2);
    there_and_back(0);
    let kernel = make!(clCreateKernel(program, c"value".as_ptr()));
    let with_kernel = call!(clBuildProgram(
        program,
        0,
        null(),
        c"-DX=3".as_ptr(),
        None,
        null_mut()
    ));
    assert_eq!(with_kernel, CL_INVALID_OPERATION);
    ok!(clReleaseKernel(kernel));
    assert_eq!(value_of(&gpu, program), 2);
    build(program, c"-DX=3");
    assert_eq!(value_of(&gpu, program), 3);
    ok!(clReleaseProgram(program));
}

fn arg_name(kernel: Handle, index: u32) -> Result<CString, i32> {
    let mut name = vec![0_u8; 64];
    let room = name.as_mut_ptr().cast();
    match call!(clGetKernelArgInfo(
        kernel,
        index,
        CL_KERNEL_ARG_NAME,
        64,
        room,
        null_mut()
    )) {
        CL_SUCCESS => Ok(CStr::from_bytes_until_nul(&name).unwrap().to_owned()),
        code => Err(code),
    }
}

/// Argument info is there after a move as before it, if the program asked for it, for old kernels, clones and new ones.
#[test]
fn kernels_made_after_a_move_know_their_arguments() {
    let _alone = alone();
    let gpu = Gpu::new();
    for (options, wanted) in [
        (c"-cl-kernel-arg-info", Ok(c"more".to_owned())),
        (c"", Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE)),
    ] {
        let program = gpu.program(VALUE);
        build(program, options);
        let old = make!(clCreateKernel(program, c"value".as_ptr()));
        there_and_back(0);
        let new = make!(clCreateKernel(program, c"sum".as_ptr()));
        let clone = make!(clCloneKernel(new));
        for kernel in [new, clone] {
            assert_eq!(arg_name(kernel, 2), wanted);
        }
        assert_eq!(arg_name(old, 0).is_ok(), wanted.is_ok());
        // A number that is a live handle is a number.
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
        gpu.write(buffer, 0, &[0_i32; 16]);
        set(new, 0, &buffer);
        set(new, 1, &1_i32);
        set(new, 2, &(buffer as u64));
        gpu.run(new, 16);
        assert_eq!(
            gpu.read::<i32>(buffer, 0, 1),
            [(buffer as i32).wrapping_add(1)]
        );
        for kernel in [old, new, clone] {
            ok!(clReleaseKernel(kernel));
        }
        ok!(clReleaseMemObject(buffer));
        ok!(clReleaseProgram(program));
    }
}

/// A header may be younger than the program that was compiled with it.
#[test]
fn compiled_programs_find_their_headers_again() {
    let _alone = alone();
    let gpu = Gpu::new();
    let object = gpu.program(
        "#include \"x.h\"\n__kernel void value(__global int *out) { out[get_global_id(0)] = X; }",
    );
    let header = gpu.program("#define X 5\n");
    let mut name = c"x.h".as_ptr();
    ok!(clCompileProgram(
        object,
        0,
        null(),
        null(),
        1,
        &raw const header,
        &raw mut name,
        None,
        null_mut()
    ));
    ok!(clReleaseProgram(header));
    let link = || {
        make!(clLinkProgram(
            gpu.context,
            0,
            null(),
            null(),
            1,
            &raw const object,
            None,
            null_mut()
        ))
    };
    let linked = link();
    assert_eq!(value_of(&gpu, linked), 5);
    there_and_back(0);
    assert_eq!(value_of(&gpu, linked), 5);
    let again = link();
    assert_eq!(value_of(&gpu, again), 5);
    for program in [object, linked, again] {
        ok!(clReleaseProgram(program));
    }
}

const BY_VALUE: &str = "
typedef struct { int w, h; } image_size;
typedef struct { int a[6]; } sampler_params;
__kernel void area(__global int *out, image_size size, sampler_params more) {
    out[get_global_id(0)] = size.w * size.h + more.a[5];
}";

/// A structure whose name begins like an object's is a value.
#[test]
fn structures_are_no_objects_by_their_names() {
    let _alone = alone();
    let gpu = Gpu::new();
    let kernel = gpu.kernel(BY_VALUE, "area");
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    set(kernel, 0, &buffer);
    set(kernel, 1, &[3_i32, 4]);
    set(kernel, 2, &[0_i32, 0, 0, 0, 0, 100]);
    for _ in 0..2 {
        gpu.write(buffer, 0, &[0_i32; 16]);
        gpu.run(kernel, 16);
        assert_eq!(gpu.read::<i32>(buffer, 0, 16), [112; 16]);
        there_and_back(0);
    }
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
}

const WAITS: &str = "
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void waits(__global volatile uint *words) {
    atomic_inc(&words[0]);
    while (words[1] == 0) {}
    atomic_inc(&words[2]);
}";

/// pocl 3.1 to 5.0 abort if they are asked for a binary while such kernels run: by the second, on two processors.
#[test]
fn a_move_begins_while_kernels_of_a_required_size_run() {
    let _alone = alone();
    let gpu = Gpu::new();
    let kernel = gpu.kernel(WAITS, "waits");
    let words: [AtomicU32; 3] = Default::default();
    let buffer = make!(clCreateBuffer(
        gpu.context,
        CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR,
        size_of_val(&words),
        words.as_ptr().cast_mut().cast()
    ));
    set(kernel, 0, &buffer);
    let start = |gpu: &Gpu| {
        ok!(clEnqueueNDRangeKernel(
            gpu.queue,
            kernel,
            1,
            null(),
            &1,
            &1,
            0,
            null(),
            null_mut()
        ));
        ok!(clFlush(gpu.queue));
    };
    let mut units = 0_u32;
    ok!(clGetDeviceInfo(
        gpu.device,
        CL_DEVICE_MAX_COMPUTE_UNITS,
        4,
        (&raw mut units).cast(),
        null_mut()
    ));
    let beside: Vec<Gpu> = (0..units.min(2)).map(|_| gpu.beside()).collect();
    beside.iter().for_each(start);
    while words[0].load(Ordering::SeqCst) < beside.len() as u32 {
        std::thread::yield_now();
    }
    let mut capture = begin();
    capture.prepare(|| true);
    words[1].store(1, Ordering::SeqCst);
    beside.iter().for_each(Gpu::finish);
    drop(capture);
    there_and_back(1);
    start(&gpu);
    assert_eq!(
        gpu.read::<u32>(buffer, 8, 1),
        [beside.len() as u32 + 1],
        "each kernel ran once"
    );
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
}
