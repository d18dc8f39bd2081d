//! The driver catches callers that break the rules of OpenCL.

#[macro_use]
mod support;

use opencl_sys::*;
use support::Stub;
use support::process::{Scratch, in_child};

const COPY: &str = "kernel void copy(global const uint *a, global uint *b) {}";

#[test]
fn a_correct_program_is_not_blamed() {
    in_child("a_correct_program_is_not_blamed", "", || {
        let stub = Stub::load();
        let context = stub.context();
        let queue = stub.queue(context, 0);
        let buffer = stub.buffer(context, 16);
        let kernel = stub.kernel(context, COPY, "copy");
        assert_eq!(
            (stub.set(kernel, 0, &buffer), stub.set(kernel, 1, &buffer)),
            (0, 0)
        );
        assert_eq!(stub.launch(queue, kernel, 4), 0);
        // The program is released already, and lives on in its kernel.
        let (mut program, null) = (
            std::ptr::null_mut::<std::ffi::c_void>(),
            std::ptr::null_mut(),
        );
        let at = (&raw mut program).cast();
        assert_eq!(
            0,
            cl!(
                kernel,
                clGetKernelInfo(kernel, CL_KERNEL_PROGRAM, 8, at, null)
            )
        );
        assert_eq!(
            (0, 0),
            (
                cl!(program, clRetainProgram(program)),
                cl!(program, clReleaseProgram(program))
            )
        );
        assert_eq!(0, cl!(buffer, clReleaseMemObject(buffer)));
        assert_eq!(0, cl!(kernel, clReleaseKernel(kernel)));
        assert_eq!(0, cl!(context, clReleaseContext(context)));
        assert_eq!(stub.held().get("cl_command_queue"), Some(&1));
        assert_eq!(0, cl!(queue, clReleaseCommandQueue(queue)));
        assert_eq!((stub.violations(), stub.held().len()), (Vec::new(), 0));
    });
}

#[test]
fn bad_handles_are_errors_and_recorded() {
    in_child("bad_handles_are_errors_and_recorded", "", || {
        let stub = Stub::load();
        let context = stub.context();
        let queue = stub.queue(context, 0);
        let buffer = stub.buffer(context, 16);
        assert_eq!(
            CL_INVALID_MEM_OBJECT,
            cl!(context, clReleaseMemObject(std::ptr::null_mut()))
        );
        assert_eq!(stub.violations(), [""; 0], "null is an error only");
        assert_eq!(
            CL_INVALID_MEM_OBJECT,
            cl!(context, clReleaseMemObject(context))
        );
        let mut garbage = 0_u64;
        assert_eq!(
            CL_INVALID_MEM_OBJECT,
            cl!(context, clRetainMemObject((&raw mut garbage).cast()))
        );
        assert_eq!(0, cl!(buffer, clReleaseMemObject(buffer)));
        assert_eq!(
            CL_INVALID_MEM_OBJECT,
            cl!(buffer, clReleaseMemObject(buffer))
        );
        assert_eq!(0, cl!(queue, clFinish(queue)));
        let violations = stub.violations();
        let parts = [
            "is a cl_context, wanted a cl_mem",
            "is no handle of this driver",
            "used after release",
        ];
        assert_eq!(violations.len(), parts.len(), "{violations:?}");
        for (violation, part) in violations.iter().zip(parts) {
            assert!(violation.contains(part), "{violation}");
        }
        assert!(violations[2].starts_with("clReleaseMemObject: "));
    });
}

#[test]
fn a_release_too_much_is_found_while_a_child_holds_the_object() {
    in_child(
        "a_release_too_much_is_found_while_a_child_holds_the_object",
        "",
        || {
            let stub = Stub::load();
            let context = stub.context();
            let buffer = stub.buffer(context, 16);
            assert_eq!(0, cl!(context, clReleaseContext(context)));
            assert_eq!(CL_INVALID_CONTEXT, cl!(context, clReleaseContext(context)));
            assert!(stub.violations()[0].contains("released more often than retained"));
            assert_eq!(0, cl!(buffer, clReleaseMemObject(buffer)));
            assert_eq!(CL_INVALID_CONTEXT, cl!(context, clRetainContext(context)));
            assert!(stub.violations()[1].contains("used after release"));
        },
    );
}

#[test]
fn contexts_do_not_mix() {
    in_child("contexts_do_not_mix", "", || {
        let stub = Stub::load();
        let (one, other) = (stub.context(), stub.context());
        let queue = stub.queue(one, 0);
        let buffer = stub.buffer(other, 16);
        let (none, null, mut host) = (std::ptr::null(), std::ptr::null_mut(), [0_u8; 16]);
        let at = host.as_mut_ptr().cast();
        let code = cl!(
            queue,
            clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 16, at, 0, none, null)
        );
        assert_eq!(code, CL_INVALID_CONTEXT);
        let kernel = stub.kernel(one, COPY, "copy");
        assert_eq!(stub.set(kernel, 0, &buffer), CL_INVALID_MEM_OBJECT);
        let user = make!(other, clCreateUserEvent(other)).unwrap();
        let code = cl!(
            queue,
            clEnqueueBarrierWithWaitList(queue, 1, &raw const user, null)
        );
        assert_eq!(code, CL_INVALID_CONTEXT);
        assert_eq!(
            stub.violations()
                .iter()
                .filter(|v| v.contains("another context"))
                .count(),
            3
        );
    });
}

#[test]
fn released_arguments_are_found_at_the_enqueue() {
    in_child("released_arguments_are_found_at_the_enqueue", "", || {
        let stub = Stub::load();
        let context = stub.context();
        let queue = stub.queue(context, 0);
        let (a, b) = (stub.buffer(context, 16), stub.buffer(context, 16));
        let kernel = stub.kernel(context, COPY, "copy");
        assert_eq!((stub.set(kernel, 0, &a), stub.set(kernel, 1, &b)), (0, 0));
        assert_eq!(0, cl!(a, clReleaseMemObject(a)));
        assert_eq!(stub.launch(queue, kernel, 1), CL_INVALID_KERNEL_ARGS);
        assert!(stub.violations()[0].contains("argument 0 of kernel 'copy' was released"));
    });
}

#[test]
fn leaks_and_violations_are_reported_at_unload() {
    let report = Scratch::new("report");
    let options = format!("report={}", report.0.display());
    in_child(
        "leaks_and_violations_are_reported_at_unload",
        &options,
        || {
            let stub = Stub::load();
            let context = stub.context();
            let queue = stub.queue(context, 0);
            stub.buffer(context, 64);
            stub.buffer(context, 64);
            let user = make!(context, clCreateUserEvent(context)).unwrap();
            let (none, null) = (std::ptr::null(), std::ptr::null_mut());
            assert_eq!(
                0,
                cl!(
                    queue,
                    clEnqueueBarrierWithWaitList(queue, 1, &raw const user, null)
                )
            );
            assert_eq!(
                0,
                cl!(queue, clEnqueueMarkerWithWaitList(queue, 0, none, null))
            );
            stub.unload();
            // Reading the report is the parent's part.
            println!("1 passed");
            std::process::exit(0);
        },
    );
    let text = std::fs::read_to_string(&report.0).unwrap();
    let fields: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.splitn(4, '\t').collect())
        .collect();
    let of = |kind: &str| {
        fields
            .iter()
            .filter(|f| f[2] == kind)
            .map(|f| f[3])
            .collect::<Vec<_>>()
    };
    assert_eq!(of("load"), ["device \"xl-gpu stub GPU\" driver \"1.0\""]);
    assert_eq!(
        of("leak"),
        [
            "1 cl_command_queue",
            "1 cl_context",
            "1 cl_event",
            "2 cl_mem"
        ]
    );
    assert_eq!(of("violation"), ["unloaded with 2 commands not done"]);
    assert_eq!(of("unload"), ["objects 5 bytes 128 violations 1"]);
}
