//! Programs: building, logs, binaries, linking.

use crate::common::*;
use crate::wait_until;
use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

fn build_text(program: Handle, device: Handle, parameter: u32) -> String {
    let mut size = 0;
    ok!(clGetProgramBuildInfo(
        program,
        device,
        parameter,
        0,
        null_mut(),
        &raw mut size
    ));
    let mut text = vec![0_u8; size];
    ok!(clGetProgramBuildInfo(
        program,
        device,
        parameter,
        size,
        text.as_mut_ptr().cast(),
        null_mut()
    ));
    CString::from_vec_with_nul(text)
        .unwrap()
        .into_string()
        .unwrap()
}

#[test]
fn builds_fail_with_a_log_and_show_the_options_as_passed() {
    let gpu = Gpu::new();
    let bad = gpu.program("__kernel void k(__global int *a) { a[0] = missing; }");
    let code = call!(clBuildProgram(
        bad,
        0,
        null(),
        c"-DX=1 -w".as_ptr(),
        None,
        null_mut()
    ));
    assert_eq!(code, CL_BUILD_PROGRAM_FAILURE);
    assert!(build_text(bad, gpu.device, CL_PROGRAM_BUILD_LOG).contains("missing"));
    assert_eq!(
        build_text(bad, gpu.device, CL_PROGRAM_BUILD_OPTIONS),
        "-DX=1 -w"
    );
    let mut kernel_code = 0;
    let kernel = call!(clCreateKernel(bad, c"k".as_ptr(), &raw mut kernel_code));
    assert!(kernel.is_null() && kernel_code == CL_INVALID_PROGRAM_EXECUTABLE);
    let good = gpu.built(ADD);
    assert_eq!(build_text(good, gpu.device, CL_PROGRAM_BUILD_OPTIONS), "");
    let mut no_kernel = 0;
    call!(clCreateKernel(
        good,
        c"nothing".as_ptr(),
        &raw mut no_kernel
    ));
    assert_eq!(no_kernel, CL_INVALID_KERNEL_NAME);
}

unsafe extern "C" fn on_build(program: Handle, user: *mut c_void) {
    // SAFETY: the test passes its own atomic, which outlives the build.
    unsafe { &*user.cast::<AtomicU32>() }
        .fetch_add(u32::from(!program.is_null()), Ordering::SeqCst);
}

#[test]
fn programs_from_binaries_and_linked_ones() {
    let gpu = Gpu::new();
    let built = AtomicU32::new(0);
    let program = gpu.program(COUNT);
    let user = (&raw const built).cast_mut().cast();
    ok!(clBuildProgram(
        program,
        0,
        null(),
        null(),
        Some(on_build),
        user
    ));
    wait_until("the build's callback", || built.load(Ordering::SeqCst) == 1);
    let binary = binary_of(program);
    let size = binary.len();
    let mut from = binary.as_ptr();
    let mut status = 1;
    let loaded = make!(clCreateProgramWithBinary(
        gpu.context,
        1,
        &raw const gpu.device,
        &raw const size,
        &raw mut from,
        &raw mut status
    ));
    assert_eq!(status, CL_SUCCESS);
    ok!(clBuildProgram(
        loaded,
        1,
        &raw const gpu.device,
        null(),
        None,
        null_mut()
    ));
    let object = gpu.program(COUNT);
    ok!(clCompileProgram(
        object,
        0,
        null(),
        null(),
        0,
        null(),
        null_mut(),
        None,
        null_mut()
    ));
    let linked = make!(clLinkProgram(
        gpu.context,
        0,
        null(),
        null(),
        1,
        &raw const object,
        None,
        null_mut()
    ));
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    gpu.write(buffer, 0, &[0_u32; 16]);
    for program in [loaded, linked] {
        let kernel = make!(clCreateKernel(program, c"count".as_ptr()));
        set(kernel, 0, &buffer);
        gpu.run(kernel, 16);
        ok!(clReleaseKernel(kernel));
    }
    assert_eq!(gpu.read::<u32>(buffer, 0, 16), [2; 16]);
}
