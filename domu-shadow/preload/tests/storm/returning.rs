//! What a program does when it has seen what a call does, before that returns: it may release the objects.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;
use crate::rig::in_child;

static ORDER: Mutex<Vec<usize>> = Mutex::new(Vec::new());

unsafe extern "C" fn in_turn(_event: Handle, _status: i32, user: *mut c_void) {
    ORDER.lock().unwrap().push(user as usize);
}

static CALLED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn called(_event: Handle, _status: i32, _user: *mut c_void) {
    CALLED.fetch_add(1, Ordering::SeqCst);
}

static PASSED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn passed(_context: Handle, _user: *mut c_void) {
    PASSED.fetch_add(1, Ordering::SeqCst);
}

fn status_of(event: Handle) -> i32 {
    let mut status = i32::MAX;
    ok!(clGetEventInfo(
        event,
        CL_EVENT_COMMAND_EXECUTION_STATUS,
        4,
        (&raw mut status).cast(),
        null_mut()
    ));
    status
}

/// Returns when all callbacks that were due have been made: they come in order.
fn all_callbacks(gpu: &Gpu) {
    let device = &raw const gpu.device;
    let context = make!(clCreateContext(null(), 1, device, None, null_mut()));
    let user = null_mut();
    ok!(clSetContextDestructorCallback(context, Some(passed), user));
    ok!(clReleaseContext(context));
    while PASSED.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
}

/// Another thread sees the status inside the call, and releases the event. What the call still has to do is not done to the next
/// event, which gets the memory.
#[test]
fn an_event_while_its_status_is_set() {
    let test = "returning::an_event_while_its_status_is_set";
    in_child(test, "return_after=clSetUserEventStatus:clFlush", || {
        let gpu = Gpu::new();
        let first = make!(clCreateUserEvent(gpu.context));
        let number = first as usize;
        std::thread::scope(|scope| {
            scope.spawn(|| ok!(clSetUserEventStatus(number as Handle, CL_COMPLETE)));
            while status_of(first) != CL_COMPLETE {
                std::thread::yield_now();
            }
            ok!(clReleaseEvent(first));
            let second = make!(clCreateUserEvent(gpu.context));
            let user = null_mut();
            ok!(clSetEventCallback(second, CL_COMPLETE, Some(called), user));
            // Lets the call return.
            ok!(clFlush(gpu.queue));
            ok!(clReleaseEvent(second));
        });
        all_callbacks(&gpu);
        assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    });
}

/// A callback that is registered while the status is being set is due at once, and comes behind those before it.
#[test]
fn callbacks_while_a_status_is_set_come_in_order() {
    let test = "returning::callbacks_while_a_status_is_set_come_in_order";
    in_child(test, "return_after=clSetUserEventStatus:clFlush", || {
        let gpu = Gpu::new();
        let event = make!(clCreateUserEvent(gpu.context));
        let number = event as usize;
        let register = |at| {
            ok!(clSetEventCallback(
                event,
                CL_COMPLETE,
                Some(in_turn),
                at as Handle
            ))
        };
        register(1);
        std::thread::scope(|scope| {
            scope.spawn(|| ok!(clSetUserEventStatus(number as Handle, CL_COMPLETE)));
            while status_of(event) != CL_COMPLETE {
                std::thread::yield_now();
            }
            register(2);
            // Lets the call return.
            ok!(clFlush(gpu.queue));
        });
        register(3);
        all_callbacks(&gpu);
        assert_eq!(*ORDER.lock().unwrap(), [1, 2, 3]);
        ok!(clReleaseEvent(event));
    });
}

/// A blocking write has its effect before it returns; the program that sees it may release the queue and the buffer.
#[test]
fn a_queue_and_a_buffer_while_a_blocking_write_returns() {
    let test = "returning::a_queue_and_a_buffer_while_a_blocking_write_returns";
    in_child(
        test,
        "return_after=clEnqueueWriteBufferRect:clCreateBuffer",
        || {
            let gpu = Gpu::new();
            let (zero, one) = (0_u32, 1_u32);
            let (origin, region) = ([0_usize; 3], [4_usize, 1, 1]);
            let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4);
            ok!(clEnqueueFillBuffer(
                gpu.queue,
                buffer,
                (&raw const zero).cast(),
                4,
                0,
                4,
                0,
                null(),
                null_mut()
            ));
            gpu.finish();
            let queue = make!(clCreateCommandQueue(gpu.context, gpu.device, 0));
            // Only the program's reference is left.
            let (queue_number, buffer_number) = (queue as usize, buffer as usize);
            let event = std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    let mut event = null_mut();
                    ok!(clEnqueueWriteBufferRect(
                        queue_number as Handle,
                        buffer_number as Handle,
                        CL_TRUE,
                        origin.as_ptr(),
                        origin.as_ptr(),
                        region.as_ptr(),
                        0,
                        0,
                        0,
                        0,
                        (&raw const one).cast(),
                        0,
                        null(),
                        &raw mut event
                    ));
                    event as usize
                });
                while gpu.read::<u32>(buffer, 0, 1) != [1] {
                    std::thread::yield_now();
                }
                ok!(clReleaseMemObject(buffer));
                ok!(clReleaseCommandQueue(queue));
                let next = gpu.beside();
                // Lets the call return.
                ok!(clReleaseMemObject(gpu.buffer(CL_MEM_READ_WRITE, 4)));
                let event = writer.join().unwrap() as Handle;
                drop(next);
                event
            });
            let mut of_event: Handle = null_mut();
            ok!(clGetEventInfo(
                event,
                CL_EVENT_COMMAND_QUEUE,
                size_of::<Handle>(),
                (&raw mut of_event).cast(),
                null_mut()
            ));
            assert_eq!(of_event, queue);
            ok!(clReleaseEvent(event));
        },
    );
}
