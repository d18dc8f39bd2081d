//! The program's callbacks: each comes once, from a thread where it may block, whenever the command ended.

mod common;

use common::events::fence;
use common::moving::{alone, there_and_back};
use common::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// A callback's user data: counts the calls, each of which waits until it is let through.
struct Gatekeeper {
    is_open: Mutex<bool>,
    opened: Condvar,
    begun: AtomicU32,
    ended: AtomicU32,
}

impl Gatekeeper {
    /// Leaked: a callback that came too late must not find freed memory.
    fn new(is_open: bool) -> &'static Gatekeeper {
        Box::leak(Box::new(Gatekeeper {
            is_open: Mutex::new(is_open),
            opened: Condvar::new(),
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
        }))
    }

    fn user(&'static self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    fn called(user: *mut c_void) {
        // SAFETY: the tests pass a leaked value.
        let this = unsafe { &*user.cast::<Gatekeeper>() };
        this.begun.fetch_add(1, Ordering::SeqCst);
        let open = this.is_open.lock().unwrap();
        drop(this.opened.wait_while(open, |open| !*open).unwrap());
        this.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Waits until it was called `times` times; then no further call may come.
    fn expect(&self, times: u32) {
        while self.ended.load(Ordering::SeqCst) < times {
            std::thread::sleep(Duration::from_millis(1));
        }
        fence();
        assert_eq!(self.begun.load(Ordering::SeqCst), times);
    }
}

unsafe extern "C" fn on_event(event: Handle, status: i32, user: *mut c_void) {
    assert_eq!(status, CL_COMPLETE);
    // It may call OpenCL.
    let mut kind = 0_u32;
    let room = (&raw mut kind).cast();
    ok!(clGetEventInfo(
        event,
        CL_EVENT_COMMAND_TYPE,
        4,
        room,
        null_mut()
    ));
    Gatekeeper::called(user);
}

unsafe extern "C" fn on_object(_object: Handle, user: *mut c_void) {
    Gatekeeper::called(user);
}

/// The program may hold a lock during the call that brings its callback about, and the callback may take it.
#[test]
fn a_callback_may_wait_for_the_caller() {
    let _alone = alone();
    let gpu = Gpu::new();
    let context = make!(clCreateContext(
        null(),
        1,
        &raw const gpu.device,
        None,
        null_mut()
    ));
    let of_context = Gatekeeper::new(false);
    ok!(clSetContextDestructorCallback(
        context,
        Some(on_object),
        of_context.user()
    ));
    ok!(clReleaseContext(context));

    let of_memory = Gatekeeper::new(false);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    ok!(clSetMemObjectDestructorCallback(
        buffer,
        Some(on_object),
        of_memory.user()
    ));
    ok!(clReleaseMemObject(buffer));

    let of_build = Gatekeeper::new(false);
    let program = gpu.program(COUNT);
    ok!(clBuildProgram(
        program,
        0,
        null(),
        null(),
        Some(on_object),
        of_build.user()
    ));

    let of_user_event = Gatekeeper::new(false);
    let user = make!(clCreateUserEvent(gpu.context));
    ok!(clSetEventCallback(
        user,
        CL_COMPLETE,
        Some(on_event),
        of_user_event.user()
    ));
    ok!(clSetUserEventStatus(user, CL_COMPLETE));

    let of_event = Gatekeeper::new(false);
    let mut marker = null_mut();
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        0,
        null(),
        &raw mut marker
    ));
    ok!(clWaitForEvents(1, &raw const marker));
    ok!(clSetEventCallback(
        marker,
        CL_COMPLETE,
        Some(on_event),
        of_event.user()
    ));

    // All those calls have returned, and the first callback waits. It does not hold up a move either.
    there_and_back(0);
    let keepers = [of_context, of_memory, of_build, of_user_event, of_event];
    for keeper in keepers {
        assert_eq!(keeper.ended.load(Ordering::SeqCst), 0);
    }
    keepers.iter().for_each(|keeper| keeper.open());
    keepers.iter().for_each(|keeper| keeper.expect(1));
    ok!(clReleaseEvent(user));
    ok!(clReleaseEvent(marker));
    ok!(clReleaseProgram(program));
}

unsafe extern "C" fn sleep(_args: *mut c_void) {
    std::thread::sleep(Duration::from_millis(150));
}

#[test]
fn event_callbacks_come_once_before_during_and_after_a_move() {
    let _alone = alone();
    let gpu = Gpu::new();
    let watch = |event, keeper: &'static Gatekeeper| {
        ok!(clSetEventCallback(
            event,
            CL_COMPLETE,
            Some(on_event),
            keeper.user()
        ));
    };
    // Ends before the move; one callback is registered before it as well, one behind it.
    let mut early = null_mut();
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        0,
        null(),
        &raw mut early
    ));
    let before = Gatekeeper::new(true);
    watch(early, before);
    gpu.finish();
    // Runs when the move begins.
    let mut running = null_mut();
    ok!(clEnqueueNativeKernel(
        gpu.queue,
        Some(sleep),
        null_mut(),
        0,
        0,
        null(),
        null_mut(),
        0,
        null(),
        &raw mut running
    ));
    ok!(clFlush(gpu.queue));
    let during = Gatekeeper::new(true);
    watch(running, during);
    // Ends behind it.
    let user = make!(clCreateUserEvent(gpu.context));
    let after = Gatekeeper::new(true);
    watch(user, after);

    there_and_back(1);
    before.expect(1);
    during.expect(1);
    assert_eq!(after.begun.load(Ordering::SeqCst), 0);
    let late = Gatekeeper::new(true);
    watch(early, late);
    watch(running, late);
    late.expect(2);
    ok!(clSetUserEventStatus(user, CL_COMPLETE));
    after.expect(1);
    there_and_back(0);
    for (keeper, times) in [(before, 1), (during, 1), (after, 1), (late, 2)] {
        keeper.expect(times);
    }
    for event in [early, running, user] {
        ok!(clReleaseEvent(event));
    }
}

#[test]
fn destructors_come_once_and_not_because_of_a_move() {
    let _alone = alone();
    let gpu = Gpu::new();
    let context = make!(clCreateContext(
        null(),
        1,
        &raw const gpu.device,
        None,
        null_mut()
    ));
    let buffer = make!(clCreateBuffer(context, CL_MEM_READ_WRITE, 4096, null_mut()));
    let (of_context, of_buffer) = (Gatekeeper::new(true), Gatekeeper::new(true));
    ok!(clSetContextDestructorCallback(
        context,
        Some(on_object),
        of_context.user()
    ));
    ok!(clSetMemObjectDestructorCallback(
        buffer,
        Some(on_object),
        of_buffer.user()
    ));
    ok!(clSetMemObjectDestructorCallback(
        buffer,
        Some(on_object),
        of_buffer.user()
    ));
    there_and_back(0);
    // The context lives while its buffer does.
    ok!(clReleaseContext(context));
    there_and_back(0);
    fence();
    assert_eq!(of_context.begun.load(Ordering::SeqCst), 0);
    assert_eq!(of_buffer.begun.load(Ordering::SeqCst), 0);
    ok!(clReleaseMemObject(buffer));
    of_buffer.expect(2);
    of_context.expect(1);
    there_and_back(0);
    of_buffer.expect(2);
    of_context.expect(1);
}

/// Also for a build that fails, and with the log there when it comes.
#[test]
fn build_callbacks_come_once() {
    let _alone = alone();
    let gpu = Gpu::new();
    let keeper = Gatekeeper::new(true);
    let good = gpu.program(COUNT);
    ok!(clBuildProgram(
        good,
        0,
        null(),
        null(),
        Some(on_object),
        keeper.user()
    ));
    keeper.expect(1);
    let bad = gpu.program("not C");
    let code = call!(clBuildProgram(
        bad,
        0,
        null(),
        null(),
        Some(on_object),
        keeper.user()
    ));
    assert_eq!(code, CL_BUILD_PROGRAM_FAILURE);
    keeper.expect(2);
    let code = call!(clBuildProgram(
        bad,
        1,
        null(),
        null(),
        Some(on_object),
        keeper.user()
    ));
    assert_eq!(code, CL_INVALID_VALUE);
    ok!(clCompileProgram(
        good,
        0,
        null(),
        null(),
        0,
        null(),
        null_mut(),
        Some(on_object),
        keeper.user()
    ));
    keeper.expect(3);
    let linked = make!(clLinkProgram(
        gpu.context,
        0,
        null(),
        null(),
        1,
        &raw const good,
        Some(on_object),
        keeper.user()
    ));
    keeper.expect(4);
    for program in [good, bad, linked] {
        ok!(clReleaseProgram(program));
    }
}
