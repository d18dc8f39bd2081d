//! Failures on request, limits, older versions; programs as far as the other files leave them out.

#[macro_use]
mod support;

use opencl_sys::*;
use support::Stub;
use support::process::in_child;

#[test]
fn the_nth_call_fails() {
    in_child(
        "the_nth_call_fails",
        "fail=clCreateBuffer:2:-4,fail=clFinish:2+:-5",
        || {
            let stub = Stub::load();
            let context = stub.context();
            let create =
                || make!(context, clCreateBuffer(context, 0, 4, std::ptr::null_mut())).err();
            assert_eq!([create(), create(), create()], [None, Some(-4), None]);
            let queue = stub.queue(context, 0);
            let finish = || cl!(queue, clFinish(queue));
            assert_eq!([finish(), finish(), finish()], [0, -5, -5]);
            assert_eq!(stub.configure("fail=clFlush:1:-6,memory=1K"), 0);
            assert_eq!(
                (
                    finish(),
                    cl!(queue, clFlush(queue)),
                    cl!(queue, clFlush(queue))
                ),
                (0, -6, 0)
            );
            assert_eq!(stub.configure("nonsense"), -1);
            assert_eq!(
                stub.state()
                    .iter()
                    .find(|line| line.starts_with("calls clFlush"))
                    .unwrap(),
                "calls clFlush 2"
            );
        },
    );
}

#[test]
fn memory_runs_out_and_comes_back() {
    in_child("memory_runs_out_and_comes_back", "memory=64K", || {
        let stub = Stub::load();
        let context = stub.context();
        let create = |size| {
            make!(
                context,
                clCreateBuffer(context, 0, size, std::ptr::null_mut())
            )
        };
        assert_eq!(create(65 << 10), Err(CL_INVALID_BUFFER_SIZE));
        let first = create(40 << 10).unwrap();
        assert_eq!(create(40 << 10), Err(CL_MEM_OBJECT_ALLOCATION_FAILURE));
        assert_eq!(0, cl!(first, clReleaseMemObject(first)));
        assert!(create(40 << 10).is_ok());
    });
}

#[test]
fn an_older_version_lacks_entries() {
    in_child(
        "an_older_version_lacks_entries",
        "spec=1.2,devices=2",
        || {
            let stub = Stub::load();
            assert_eq!(
                stub.device_text(CL_DEVICE_VERSION),
                "OpenCL 1.2 xl-gpu stub"
            );
            assert!(
                support::table(stub.platform)
                    .clCreateCommandQueueWithProperties
                    .is_none()
            );
            let (mut count, null) = (0, std::ptr::null_mut::<std::ffi::c_void>());
            let platform = stub.platform;
            assert_eq!(
                0,
                cl!(
                    platform,
                    clGetDeviceIDs(platform, CL_DEVICE_TYPE_GPU, 0, null.cast(), &raw mut count)
                )
            );
            assert_eq!(count, 2);
            let cpu = CL_DEVICE_TYPE_CPU;
            assert_eq!(
                -1,
                cl!(
                    platform,
                    clGetDeviceIDs(platform, cpu, 0, null.cast(), &raw mut count)
                )
            );
        },
    );
}

#[test]
fn builds_fail_with_a_log_and_link_from_objects() {
    let stub = Stub::load();
    let context = stub.context();
    let program = stub.program(context, "kernel void warp(global uint *a) {}");
    assert_eq!(stub.build(program, "-DX"), CL_BUILD_PROGRAM_FAILURE);
    let mut log = [0_u8; 256];
    let at = log.as_mut_ptr().cast();
    let mut size = 0;
    let name = CL_PROGRAM_BUILD_LOG;
    assert_eq!(
        0,
        cl!(
            program,
            clGetProgramBuildInfo(program, stub.device, name, 256, at, &raw mut size)
        )
    );
    assert!(
        String::from_utf8_lossy(&log[..size]).contains("kernel 'warp' is not one of: add, scale")
    );
    assert_eq!(
        make!(program, clCreateKernel(program, c"warp".as_ptr())),
        Err(CL_INVALID_PROGRAM_EXECUTABLE)
    );
    let null = std::ptr::null_mut::<std::ffi::c_void>();
    let objects = [
        "kernel void add(global int *a, global int *b, global int *c) {}",
        "kernel void fill_seq(global float *a) {}",
    ]
    .map(|source| {
        let object = stub.program(context, source);
        let (none, options) = (std::ptr::null(), c"".as_ptr());
        let code = cl!(
            object,
            clCompileProgram(
                object,
                0,
                none,
                options,
                0,
                none.cast(),
                null.cast(),
                None,
                null
            )
        );
        assert_eq!(code, 0);
        object
    });
    let (none, options) = (std::ptr::null(), c"".as_ptr());
    let linked = make!(
        context,
        clLinkProgram(context, 0, none, options, 2, objects.as_ptr(), None, null)
    )
    .unwrap();
    let mut names = [0_u8; 32];
    let at = names.as_mut_ptr().cast();
    assert_eq!(
        0,
        cl!(
            linked,
            clGetProgramInfo(linked, CL_PROGRAM_KERNEL_NAMES, 32, at, null.cast())
        )
    );
    assert!(names.starts_with(b"add;fill_seq\0"));
}

#[test]
fn argument_info_wants_its_option() {
    let stub = Stub::load();
    let context = stub.context();
    let program = stub.program(
        context,
        "kernel void increase(global ulong *values, const ulong by) {}",
    );
    let kernel_of = |options: &str| {
        assert_eq!(stub.build(program, options), 0);
        make!(program, clCreateKernel(program, c"increase".as_ptr())).unwrap()
    };
    let type_of = |kernel: cl_kernel, index: u32| {
        let mut name = [0_u8; 16];
        let at = name.as_mut_ptr().cast();
        let null = std::ptr::null_mut();
        match cl!(
            kernel,
            clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME, 16, at, null)
        ) {
            0 => Ok(String::from_utf8_lossy(&name)
                .trim_end_matches('\0')
                .to_owned()),
            code => Err(code),
        }
    };
    let kernel = kernel_of("");
    assert_eq!(type_of(kernel, 0), Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE));
    assert_eq!(
        stub.build(program, ""),
        CL_INVALID_OPERATION,
        "a kernel is attached"
    );
    assert_eq!(0, cl!(kernel, clReleaseKernel(kernel)));
    let kernel = kernel_of("-cl-kernel-arg-info");
    assert_eq!(
        (type_of(kernel, 0), type_of(kernel, 1)),
        (Ok("ulong*".to_owned()), Ok("ulong".to_owned()))
    );
    assert_eq!(type_of(kernel, 2), Err(CL_INVALID_ARG_INDEX));
}
