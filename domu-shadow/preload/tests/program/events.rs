//! Events, their callbacks and times; destructor callbacks.

use crate::common::*;
use crate::wait_until;
use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

static CALLED: AtomicU32 = AtomicU32::new(0);

static LAST_STATUS: AtomicI32 = AtomicI32::new(i32::MAX);

unsafe extern "C" fn on_event(event: Handle, status: i32, user: *mut c_void) {
    LAST_STATUS.store(status, Ordering::SeqCst);
    // A callback may call OpenCL, on the handle that the program knows.
    let mut kind = 0_u32;
    ok!(clGetEventInfo(
        event,
        CL_EVENT_COMMAND_TYPE,
        4,
        (&raw mut kind).cast(),
        null_mut()
    ));
    CALLED.fetch_add(user as u32, Ordering::SeqCst);
}

#[test]
fn events_user_events_callbacks_and_profiling() {
    let gpu = Gpu::with_queue(CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    let user = make!(clCreateUserEvent(gpu.context));
    let (mut write, mut marker) = (null_mut(), null_mut());
    let data = [3_u8; 4096];
    ok!(clEnqueueWriteBuffer(
        gpu.queue,
        buffer,
        CL_FALSE,
        0,
        4096,
        data.as_ptr().cast(),
        1,
        &raw const user,
        &raw mut write
    ));
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        1,
        &raw const write,
        &raw mut marker
    ));
    ok!(clSetEventCallback(
        write,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(1)
    ));
    ok!(clSetEventCallback(
        user,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(10)
    ));
    ok!(clFlush(gpu.queue));
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    ok!(clSetUserEventStatus(user, CL_COMPLETE));
    assert_eq!(
        call!(clSetUserEventStatus(user, CL_COMPLETE)),
        CL_INVALID_OPERATION
    );
    assert_eq!(
        call!(clSetUserEventStatus(write, CL_COMPLETE)),
        CL_INVALID_EVENT
    );
    ok!(clWaitForEvents(1, &raw const marker));
    wait_until("both callbacks", || CALLED.load(Ordering::SeqCst) == 11);
    assert_eq!(LAST_STATUS.load(Ordering::SeqCst), CL_COMPLETE);
    // On an event that is complete already it comes as well.
    ok!(clSetEventCallback(
        write,
        CL_COMPLETE,
        Some(on_event),
        without_provenance_mut(100)
    ));
    wait_until("the late callback", || CALLED.load(Ordering::SeqCst) == 111);
    let time = |parameter| {
        let mut time = 0_u64;
        ok!(clGetEventProfilingInfo(
            write,
            parameter,
            8,
            (&raw mut time).cast(),
            null_mut()
        ));
        time
    };
    assert!(time(CL_PROFILING_COMMAND_QUEUED) <= time(CL_PROFILING_COMMAND_START));
    assert!(time(CL_PROFILING_COMMAND_START) <= time(CL_PROFILING_COMMAND_END));
    let (mut queue, mut kind) = (null_mut::<c_void>(), 0_u32);
    ok!(clGetEventInfo(
        write,
        CL_EVENT_COMMAND_QUEUE,
        8,
        (&raw mut queue).cast(),
        null_mut()
    ));
    ok!(clGetEventInfo(
        write,
        CL_EVENT_COMMAND_TYPE,
        4,
        (&raw mut kind).cast(),
        null_mut()
    ));
    assert_eq!((queue, kind), (gpu.queue, CL_COMMAND_WRITE_BUFFER));
    for event in [user, write, marker] {
        ok!(clReleaseEvent(event));
        assert_eq!(call!(clReleaseEvent(event)), CL_INVALID_EVENT);
    }
}

unsafe extern "C" fn on_destruction(_mem: Handle, user: *mut c_void) {
    // SAFETY: the test passes its own atomic, which outlives the call.
    let order = unsafe { &*user.cast::<AtomicU32>() };
    order.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn destructor_callbacks_come_once() {
    let gpu = Gpu::new();
    let gone = AtomicU32::new(0);
    let user = (&raw const gone).cast_mut().cast::<c_void>();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    ok!(clSetMemObjectDestructorCallback(
        buffer,
        Some(on_destruction),
        user
    ));
    ok!(clRetainMemObject(buffer));
    ok!(clReleaseMemObject(buffer));
    gpu.finish();
    assert_eq!(gone.load(Ordering::SeqCst), 0);
    ok!(clReleaseMemObject(buffer));
    wait_until("the destructor callback", || {
        gone.load(Ordering::SeqCst) == 1
    });
}
