//! Events go through their states; wait lists, user events, callbacks, orders of execution.

#[macro_use]
mod support;

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};

use opencl_sys::*;
use support::Stub;

const SPIN: &str = "kernel void spin(global uint *out, uint milliseconds) {}";

/// A context with a queue, and a kernel that counts up in a buffer.
struct Bench {
    stub: Stub,
    context: cl_context,
    queue: cl_command_queue,
    buffer: cl_mem,
    kernel: cl_kernel,
}

fn bench(properties: u64) -> Bench {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, properties);
    let buffer = stub.buffer(context, 4);
    stub.write(queue, buffer, &[0]);
    let kernel = stub.kernel(context, SPIN, "spin");
    assert_eq!(
        (stub.set(kernel, 0, &buffer), stub.set(kernel, 1, &1_u32)),
        (0, 0)
    );
    Bench {
        stub,
        context,
        queue,
        buffer,
        kernel,
    }
}

extern "C" fn note(_: *mut c_void, status: i32, at: *mut c_void) {
    // SAFETY: the tests pass a static.
    unsafe { &*at.cast::<AtomicI32>() }.store(status, Ordering::SeqCst);
}

#[test]
fn a_user_event_holds_commands_back() {
    static TOLD: AtomicI32 = AtomicI32::new(77);
    let Bench {
        stub,
        context,
        queue,
        buffer,
        kernel,
    } = bench(0);
    let user = make!(context, clCreateUserEvent(context)).unwrap();
    let held = stub.launch_event(queue, kernel, &[user]);
    let data = (&raw const TOLD).cast_mut().cast();
    assert_eq!(
        0,
        cl!(
            held,
            clSetEventCallback(held, CL_COMPLETE, Some(note), data)
        )
    );
    assert_eq!(0, cl!(queue, clFlush(queue)));
    assert_eq!(stub.status(held), CL_SUBMITTED);
    assert_eq!(0, cl!(user, clSetUserEventStatus(user, CL_COMPLETE)));
    assert_eq!(
        CL_INVALID_OPERATION,
        cl!(user, clSetUserEventStatus(user, CL_COMPLETE))
    );
    assert_eq!(0, cl!(queue, clFinish(queue)));
    assert_eq!(
        (stub.status(held), TOLD.load(Ordering::SeqCst)),
        (CL_COMPLETE, CL_COMPLETE)
    );
    assert_eq!(stub.read(queue, buffer, 1), [1]);
}

#[test]
fn a_failed_event_fails_what_waits_for_it() {
    static TOLD: AtomicI32 = AtomicI32::new(77);
    let Bench {
        stub,
        context,
        queue,
        buffer,
        kernel,
    } = bench(0);
    let user = make!(context, clCreateUserEvent(context)).unwrap();
    let held = stub.launch_event(queue, kernel, &[user]);
    let data = (&raw const TOLD).cast_mut().cast();
    assert_eq!(
        0,
        cl!(
            held,
            clSetEventCallback(held, CL_COMPLETE, Some(note), data)
        )
    );
    assert_eq!(0, cl!(user, clSetUserEventStatus(user, -5)));
    let failed = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    assert_eq!(cl!(held, clWaitForEvents(1, &raw const held)), failed);
    assert_eq!(0, cl!(queue, clFinish(queue)));
    assert_eq!(
        (stub.status(held), TOLD.load(Ordering::SeqCst)),
        (failed, failed)
    );
    assert_eq!(stub.read(queue, buffer, 1), [0], "it did not run");
}

#[test]
fn stamps_are_in_order() {
    let Bench {
        stub,
        queue,
        kernel,
        ..
    } = bench(CL_QUEUE_PROFILING_ENABLE);
    let event = stub.launch_event(queue, kernel, &[]);
    assert_eq!(0, cl!(event, clWaitForEvents(1, &raw const event)));
    let stamp = |name| {
        let mut value = 0_u64;
        let at = (&raw mut value).cast();
        assert_eq!(
            0,
            cl!(
                event,
                clGetEventProfilingInfo(event, name, 8, at, std::ptr::null_mut())
            )
        );
        value
    };
    let names = [
        CL_PROFILING_COMMAND_QUEUED,
        CL_PROFILING_COMMAND_SUBMIT,
        CL_PROFILING_COMMAND_START,
        CL_PROFILING_COMMAND_END,
    ];
    let stamps = names.map(stamp);
    assert!(
        stamps.is_sorted() && stamps[0] > 0 && stamps[2] < stamps[3],
        "{stamps:?}"
    );
}

#[test]
fn out_of_order_overtakes_and_a_barrier_does_not() {
    let Bench {
        stub,
        context,
        queue,
        buffer,
        kernel,
    } = bench(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let user = make!(context, clCreateUserEvent(context)).unwrap();
    let held = stub.launch_event(queue, kernel, &[user]);
    let free = stub.launch_event(queue, kernel, &[]);
    assert_eq!(0, cl!(free, clWaitForEvents(1, &raw const free)));
    assert_eq!(
        stub.read(queue, buffer, 1),
        [1],
        "the second one ran, the first did not"
    );
    let (none, null) = (std::ptr::null(), std::ptr::null_mut());
    assert_eq!(
        0,
        cl!(queue, clEnqueueBarrierWithWaitList(queue, 0, none, null))
    );
    let behind = stub.launch_event(queue, kernel, &[]);
    assert_eq!(0, cl!(queue, clFlush(queue)));
    assert_eq!(
        (stub.status(held), stub.status(behind)),
        (CL_SUBMITTED, CL_SUBMITTED)
    );
    assert_eq!(0, cl!(user, clSetUserEventStatus(user, 0)));
    assert_eq!(0, cl!(queue, clFinish(queue)));
    assert_eq!(stub.read(queue, buffer, 1), [3]);
}

#[test]
fn a_queue_works_on_after_its_release() {
    let Bench {
        stub,
        context,
        queue,
        buffer,
        kernel,
    } = bench(0);
    let user = make!(context, clCreateUserEvent(context)).unwrap();
    let held = stub.launch_event(queue, kernel, &[user]);
    assert_eq!(0, cl!(queue, clReleaseCommandQueue(queue)));
    assert_eq!(0, cl!(user, clSetUserEventStatus(user, 0)));
    assert_eq!(0, cl!(held, clWaitForEvents(1, &raw const held)));
    let other = stub.queue(context, 0);
    assert_eq!(stub.read(other, buffer, 1), [1]);
}

#[test]
fn lazy_flush_keeps_commands_queued() {
    support::process::in_child("lazy_flush_keeps_commands_queued", "lazy_flush", || {
        let Bench {
            stub,
            queue,
            kernel,
            ..
        } = bench(0);
        let event = stub.launch_event(queue, kernel, &[]);
        assert_eq!(stub.status(event), CL_QUEUED);
        assert_eq!(0, cl!(event, clWaitForEvents(1, &raw const event)));
        assert_eq!(stub.status(event), CL_COMPLETE);
    });
}

#[test]
fn a_slow_command_is_seen_running_and_may_fail() {
    let options = "slow_exec=clEnqueueNDRangeKernel:20ms,slow=clFlush:1ms,fail_exec=clEnqueueNDRangeKernel:2:-5";
    support::process::in_child(
        "a_slow_command_is_seen_running_and_may_fail",
        options,
        || {
            let Bench {
                stub,
                queue,
                kernel,
                buffer,
                ..
            } = bench(0);
            let first = stub.launch_event(queue, kernel, &[]);
            let second = stub.launch_event(queue, kernel, &[]);
            while stub.status(first) > CL_RUNNING {
                std::thread::yield_now();
            }
            // Unless the first one ended meanwhile.
            let behind = stub.status(second);
            assert!(behind == CL_SUBMITTED || stub.status(first) == CL_COMPLETE);
            assert_eq!(0, cl!(queue, clFinish(queue)));
            assert_eq!(
                (stub.status(first), stub.status(second)),
                (0, CL_OUT_OF_RESOURCES)
            );
            assert_eq!(stub.read(queue, buffer, 1), [1]);
        },
    );
}
