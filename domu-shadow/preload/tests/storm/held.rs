//! Held commands with a driver that is slow, old, or lazy.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::events::{list_of, set_user, status_of, user_event};
use crate::common::moving::{PATIENCE, begin, there_and_back, there_and_back_with};
use crate::common::*;
use crate::rig::{Stub, in_child};

const WORDS: usize = 256;
const BYTES: usize = WORDS * 4;
/// Longer than anything here takes that does not wait for ever.
const LONG: Duration = Duration::from_secs(20);
const INCREASE: &str = "__kernel void increase(__global uint *a, const uint by) {}";

/// A buffer of ones, and the kernel that adds one to each.
fn ones(gpu: &Gpu) -> (Handle, Handle) {
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    gpu.beside().write(buffer, 0, &[1_u32; WORDS]);
    let kernel = gpu.kernel(INCREASE, "increase");
    set(kernel, 0, &buffer);
    set(kernel, 1, &1_u32);
    (buffer, kernel)
}

fn run(gpu: &Gpu, kernel: Handle, wait: &[Handle]) -> Handle {
    let (items, mut event) = (WORDS, null_mut());
    ok!(clEnqueueNDRangeKernel(
        gpu.queue,
        kernel,
        1,
        null(),
        &raw const items,
        null(),
        wait.len() as u32,
        list_of(wait),
        &raw mut event
    ));
    event
}

/// Runs it, and nobody looks at the event.
fn start(gpu: &Gpu, kernel: Handle, wait: &[Handle]) {
    ok!(clReleaseEvent(run(gpu, kernel, wait)));
}

/// Whether the event's command ends; what waits for ever does not hold up the test.
fn ends(event: Handle) -> bool {
    let start = Instant::now();
    while status_of(event) > CL_COMPLETE && start.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(1));
    }
    status_of(event) <= CL_COMPLETE
}

fn marker(gpu: &Gpu, wait: Handle) -> Handle {
    let mut event = null_mut();
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        1,
        &raw const wait,
        &raw mut event
    ));
    ok!(clFlush(gpu.queue));
    event
}

fn release(buffer: Handle, kernel: Handle) {
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
}

/// It runs while the queue holds back another one: rounds and the stop wait for it all the same.
#[test]
fn a_command_let_go_in_front_of_a_held_one_is_seen() {
    let test = "held::a_command_let_go_in_front_of_a_held_one_is_seen";
    in_child(test, "slow_exec=clEnqueueNDRangeKernel:500ms", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        let (first, second) = (user_event(&gpu), user_event(&gpu));
        start(&gpu, kernel, &[first]);
        start(&gpu, kernel, &[second]);
        there_and_back_with(1, || set_user(first, CL_COMPLETE));
        assert_eq!(gpu.beside().read::<u32>(buffer, 0, 2), [2, 2]);
        set_user(second, CL_COMPLETE);
        gpu.finish();
        assert_eq!(gpu.read::<u32>(buffer, 0, 2), [3, 3]);
        release(buffer, kernel);
    });
}

#[test]
fn a_driver_of_opencl_1_1_holds_commands_back() {
    let test = "held::a_driver_of_opencl_1_1_holds_commands_back";
    in_child(test, "spec=1.1", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        let user = user_event(&gpu);
        start(&gpu, kernel, &[user]);
        Stub::next_load("spec=1.1");
        there_and_back(1);
        set_user(user, CL_COMPLETE);
        gpu.finish();
        assert_eq!(gpu.read::<u32>(buffer, 0, 2), [2, 2]);
        release(buffer, kernel);
    });
}

/// Nothing ends in such a driver before a flush.
#[test]
fn a_lazy_driver_is_flushed() {
    in_child("held::a_lazy_driver_is_flushed", "lazy_flush", || {
        let gpu = Gpu::with_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
        let (buffer, kernel) = ones(&gpu);
        let user = user_event(&gpu);
        start(&gpu, kernel, &[user]);
        start(&gpu, kernel, &[]);
        Stub::next_load("lazy_flush");
        there_and_back(1);
        assert_eq!(gpu.beside().read::<u32>(buffer, 0, 2), [2, 2]);
        set_user(user, CL_COMPLETE);
        gpu.finish();
        assert_eq!(gpu.beside().read::<u32>(buffer, 0, 2), [3, 3]);
        release(buffer, kernel);
    });
}

/// A wait list whose events ended before the move is no empty list, which would mean everything.
#[test]
fn a_marker_behind_what_had_ended_does_not_wait_for_all() {
    let test = "held::a_marker_behind_what_had_ended_does_not_wait_for_all";
    in_child(test, "nvidia", || {
        let gpu = Gpu::with_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
        let (buffer, kernel) = ones(&gpu);
        let done = run(&gpu, kernel, &[]);
        gpu.finish();
        there_and_back(0);
        let (soon, late) = (user_event(&gpu), user_event(&gpu));
        let held = run(&gpu, kernel, &[late]);
        let mark = marker(&gpu, done);
        assert!(ends(mark));
        assert!(status_of(held) > CL_COMPLETE);
        set_user(late, CL_COMPLETE);
        let late = user_event(&gpu);
        // The same for one that the move itself enqueues.
        ok!(clEnqueueBarrierWithWaitList(
            gpu.queue,
            1,
            &raw const soon,
            null_mut()
        ));
        let behind = run(&gpu, kernel, &[late]);
        let again = marker(&gpu, done);
        there_and_back(0);
        assert!(status_of(again) > CL_COMPLETE);
        set_user(soon, CL_COMPLETE);
        assert!(ends(again));
        assert!(status_of(behind) > CL_COMPLETE);
        set_user(late, CL_COMPLETE);
        gpu.finish();
        for event in [done, held, mark, behind, again] {
            assert_eq!(status_of(event), CL_COMPLETE);
            ok!(clReleaseEvent(event));
        }
        release(buffer, kernel);
    });
}

/// The program's queues have its own commands and no others: some drivers do not take a marker between them well.
#[test]
fn nothing_of_ours_stands_in_a_queue_with_held_commands() {
    let test = "held::nothing_of_ours_stands_in_a_queue_with_held_commands";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        // From the first user event on.
        set_user(user_event(&gpu), CL_COMPLETE);
        let markers = || Stub::calls()("clEnqueueMarkerWithWaitList");
        let before = markers();
        for _ in 0..3 {
            let user = user_event(&gpu);
            start(&gpu, kernel, &[user]);
            set_user(user, CL_COMPLETE);
            gpu.finish();
        }
        let of_its_own = gpu.beside();
        start(&of_its_own, kernel, &[]);
        drop(of_its_own);
        assert_eq!(markers(), before);
        release(buffer, kernel);
    });
}

/// An event for each command has its price.
#[test]
fn commands_are_not_followed_for_ever() {
    let test = "held::commands_are_not_followed_for_ever";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        let captures_mark = || {
            let markers = || Stub::calls()("clEnqueueMarkerWithWaitList");
            let before = markers();
            drop(begin());
            markers() > before
        };
        assert!(captures_mark());
        set_user(user_event(&gpu), CL_COMPLETE);
        assert!(!captures_mark());
        (0..300).for_each(|_| gpu.run(kernel, WORDS));
        assert!(captures_mark());
        let user = user_event(&gpu);
        assert!(!captures_mark());
        start(&gpu, kernel, &[user]);
        there_and_back(1);
        set_user(user, CL_COMPLETE);
        gpu.finish();
        assert_eq!(gpu.read::<u32>(buffer, 0, 2), [302, 302]);
        release(buffer, kernel);
    });
}

/// They are followed by their events: those that run when the program makes its first user event, and those enqueued without
/// an event while no user event is open.
#[test]
fn commands_that_run_before_a_held_one_are_waited_for() {
    let test = "held::commands_that_run_before_a_held_one_are_waited_for";
    in_child(test, "slow_exec=clEnqueueNDRangeKernel:500ms", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        gpu.run(kernel, WORDS);
        let user = user_event(&gpu);
        start(&gpu, kernel, &[user]);
        Stub::next_load("slow_exec=clEnqueueNDRangeKernel:500ms");
        there_and_back(1);
        assert_eq!(gpu.beside().read::<u32>(buffer, 0, 2), [2, 2]);
        set_user(user, CL_COMPLETE);
        gpu.run(kernel, WORDS);
        let user = user_event(&gpu);
        start(&gpu, kernel, &[user]);
        there_and_back(1);
        assert_eq!(gpu.beside().read::<u32>(buffer, 0, 2), [4, 4]);
        set_user(user, CL_COMPLETE);
        gpu.finish();
        assert_eq!(gpu.read::<u32>(buffer, 0, 2), [5, 5]);
        release(buffer, kernel);
    });
}

static CALLED: AtomicBool = AtomicBool::new(false);
static AT_REST: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn returns_at_rest(_event: Handle, _status: i32, _user: *mut c_void) {
    CALLED.store(true, Ordering::SeqCst);
    while !AT_REST.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
}

/// What only a callback still refers to is not released while the driver goes.
#[test]
fn a_callback_that_returns_late_touches_no_driver() {
    let test = "held::a_callback_that_returns_late_touches_no_driver";
    in_child(test, "nvidia", || {
        let gpu = Gpu::new();
        let (buffer, kernel) = ones(&gpu);
        let side = gpu.beside();
        let mut event = null_mut();
        ok!(clEnqueueMarkerWithWaitList(
            side.queue,
            0,
            null(),
            &raw mut event
        ));
        ok!(clSetEventCallback(
            event,
            CL_COMPLETE,
            Some(returns_at_rest),
            null_mut()
        ));
        side.finish();
        while !CALLED.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        ok!(clReleaseEvent(event));
        drop(side);
        let quiesced = begin().quiesce(PATIENCE).map_err(|(_, error)| error);
        let quiesced = quiesced.unwrap();
        let released = Stub::calls()("clReleaseCommandQueue");
        AT_REST.store(true, Ordering::SeqCst);
        // Nothing shows when the callback's thread has let go of the queue, and the gate is closed to a fence.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(Stub::calls()("clReleaseCommandQueue"), released);
        drop(quiesced.reopen());
        there_and_back(0);
        assert_eq!(gpu.read::<u32>(buffer, 0, 1), [1]);
        release(buffer, kernel);
    });
}
