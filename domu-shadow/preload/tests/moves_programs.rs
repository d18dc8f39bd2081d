//! Programs over a move: made again as they were, and as good as new afterwards.

mod common;

use common::moving::{alone, there_and_back};
use common::*;
use std::ffi::{CStr, CString};
use std::ptr::{null, null_mut};

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
