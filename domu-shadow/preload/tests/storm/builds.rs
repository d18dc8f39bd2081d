//! Builds on a driver that does not take the argument info that the shadow asks for: they are as without the shadow.

use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::moving::there_and_back;
use crate::common::*;
use crate::rig::{Stub, in_child};

/// What NVIDIA's compiler makes wrong code of, and a kernel whose second argument has a handle's size.
const SPEAKS: &str = "kernel void idle() { printf(\"here\"); } \
                      kernel void increase(global ulong *a, ulong by) {}";

unsafe extern "C" fn count(_program: Handle, user: *mut c_void) {
    // SAFETY: the tests pass their own atomic, which outlives the process's builds.
    unsafe { &*user.cast::<AtomicU32>() }.fetch_add(1, Ordering::SeqCst);
}

fn build(program: Handle, options: &CStr) -> i32 {
    let options = options.as_ptr();
    call!(clBuildProgram(
        program,
        0,
        null(),
        options,
        None,
        null_mut()
    ))
}

fn build_text(program: Handle, device: Handle, parameter: u32) -> String {
    let mut text = vec![0_u8; 4096];
    let room = text.as_mut_ptr().cast();
    ok!(clGetProgramBuildInfo(
        program,
        device,
        parameter,
        text.len(),
        room,
        null_mut()
    ));
    let text = CStr::from_bytes_until_nul(&text).unwrap();
    text.to_str().unwrap().to_owned()
}

fn arg_name(kernel: Handle) -> Result<CString, i32> {
    let mut name = vec![0_u8; 64];
    let room = name.as_mut_ptr().cast();
    let parameter = CL_KERNEL_ARG_NAME;
    match call!(clGetKernelArgInfo(
        kernel,
        0,
        parameter,
        64,
        room,
        null_mut()
    )) {
        CL_SUCCESS => Ok(CStr::from_bytes_until_nul(&name).unwrap().to_owned()),
        code => Err(code),
    }
}

const MISSING: Result<CString, i32> = Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE);

#[test]
fn what_is_refused_with_argument_info_is_built_without() {
    let test = "builds::what_is_refused_with_argument_info_is_built_without";
    in_child(test, "nvidia,build_refuses_arg_info", || {
        let gpu = Gpu::new();
        let program = gpu.program(SPEAKS);
        assert_eq!(build(program, c""), CL_SUCCESS);
        assert_eq!(Stub::calls()("clBuildProgram"), 2);
        let log = |program| build_text(program, gpu.device, CL_PROGRAM_BUILD_LOG);
        assert_eq!(log(program), "");
        let idle = make!(clCreateKernel(program, c"idle".as_ptr()));
        let increase = make!(clCreateKernel(program, c"increase".as_ptr()));
        assert_eq!(arg_name(increase), MISSING);
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64 * 8);
        gpu.write(buffer, 0, &[0_u64; 64]);
        set(increase, 0, &buffer);
        set(increase, 1, &5_u64);
        let at_first = binary_of(program);
        for times in 1..4_u64 {
            gpu.run(idle, 64);
            gpu.run(increase, 64);
            assert_eq!(gpu.read::<u64>(buffer, 8, 1), [5 * times]);
            // Another version does not take the binary: it is built from its source, and what was refused is not tried.
            Stub::next_load(&format!("build_refuses_arg_info,driver={times}"));
            there_and_back(0);
            assert_eq!(Stub::calls()("clBuildProgram"), 1);
            let new = make!(clCreateKernel(program, c"increase".as_ptr()));
            assert_eq!(arg_name(new), MISSING);
            ok!(clReleaseKernel(new));
        }
        Stub::next_load("build_refuses_arg_info");
        there_and_back(0);
        assert_eq!(binary_of(program), at_first);
        for kernel in [idle, increase] {
            ok!(clReleaseKernel(kernel));
        }
        ok!(clReleaseProgram(program));
        ok!(clReleaseMemObject(buffer));
    });
}

#[test]
fn a_failure_is_that_of_the_build_the_program_asked_for() {
    let test = "builds::a_failure_is_that_of_the_build_the_program_asked_for";
    in_child(test, "nvidia,build_refuses_arg_info,logs_add_up", || {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        let gpu = Gpu::new();
        let log = |program| build_text(program, gpu.device, CL_PROGRAM_BUILD_LOG);
        let wrong = gpu.program("kernel void idle() { printf(\"\"); } kernel void absent() {}");
        let user = (&raw const CALLS).cast_mut().cast();
        let options = c"-DX";
        let code = call!(clBuildProgram(
            wrong,
            0,
            null(),
            options.as_ptr(),
            Some(count),
            user
        ));
        // What the driver says: it tells by the callback.
        assert_eq!(code, CL_SUCCESS);
        assert!(
            log(wrong).contains("'absent' is not one of"),
            "{}",
            log(wrong)
        );
        assert!(!log(wrong).contains("Parsing error"), "{}", log(wrong));
        let shown = build_text(wrong, gpu.device, CL_PROGRAM_BUILD_OPTIONS);
        assert_eq!(shown, "-DX");
        // One that asks for it itself gets what the driver says.
        let asking = gpu.program(SPEAKS);
        assert_eq!(
            build(asking, c"-cl-kernel-arg-info"),
            CL_BUILD_PROGRAM_FAILURE
        );
        assert!(log(asking).contains("Parsing error"), "{}", log(asking));
        let (failed, said) = (log(wrong), log(asking));
        Stub::next_load("build_refuses_arg_info,driver=2.0");
        there_and_back(0);
        assert_eq!((log(wrong), log(asking)), (failed, said));
        // Callbacks come in their order, from a thread of their own.
        let good = gpu.program(SPEAKS);
        ok!(clBuildProgram(good, 0, null(), null(), Some(count), user));
        while CALLS.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        for program in [wrong, asking, good] {
            ok!(clReleaseProgram(program));
        }
        assert_eq!(CALLS.load(Ordering::SeqCst), 2);
    });
}

/// Where the driver takes the option, the program does not see that either.
#[test]
fn argument_info_shows_only_where_it_was_asked_for() {
    let test = "builds::argument_info_shows_only_where_it_was_asked_for";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let source = "kernel void increase(global uint *a, uint by) {}";
        let made = |compile: bool, options: &CStr| {
            let program = gpu.program(source);
            if !compile {
                assert_eq!(build(program, options), CL_SUCCESS);
                return program;
            }
            let (none, no_names) = (null(), null_mut());
            ok!(clCompileProgram(
                program,
                0,
                null(),
                options.as_ptr(),
                0,
                none,
                no_names,
                None,
                null_mut()
            ));
            let inputs = &raw const program;
            let linked = make!(clLinkProgram(
                gpu.context,
                0,
                null(),
                null(),
                1,
                inputs,
                None,
                null_mut()
            ));
            ok!(clReleaseProgram(program));
            linked
        };
        for compile in [false, true] {
            let asking = made(compile, c"-DX -cl-kernel-arg-info");
            let quiet = made(compile, c"-DX");
            // No such option, though its name begins like one.
            let other = made(compile, c"-DX -cl-kernel-arg-info-not");
            let kernels = [asking, quiet, other].map(|program| {
                let kernel = make!(clCreateKernel(program, c"increase".as_ptr()));
                (program, kernel, binary_of(program))
            });
            for driver in ["1.0", "2.0", "1.0"] {
                Stub::next_load(&format!("driver={driver}"));
                there_and_back(0);
                for (program, kernel, binary) in &kernels {
                    let is_asking = *program == asking;
                    let wanted = if is_asking {
                        Ok(c"a".to_owned())
                    } else {
                        MISSING
                    };
                    assert_eq!(arg_name(*kernel), wanted);
                    let text = String::from_utf8(binary_of(*program)).unwrap();
                    assert!(text.contains(&format!("\n{is_asking}\n")), "{text}");
                    if driver == "1.0" {
                        assert_eq!(&text.into_bytes(), binary);
                    }
                }
            }
            for (program, kernel, _) in kernels {
                ok!(clReleaseKernel(kernel));
                ok!(clReleaseProgram(program));
            }
        }
    });
}
