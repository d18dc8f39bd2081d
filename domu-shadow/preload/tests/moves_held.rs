//! Commands that the program's user events hold back, moved.

mod common;

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use common::events::{list_of, set_user, status_of, user_event};
use common::moving::{PATIENCE, alone, begin, there_and_back};
use common::*;
use runtime::mover::MoveError;

const WORDS: usize = 1024;
const BYTES: usize = WORDS * 4;
const PLUS: &str = "__kernel void plus(__global uint *a, uint n) { a[get_global_id(0)] += n; }";

/// The whole of `gpu`, which other threads may use, not the pointer in it.
fn queue_of(gpu: &Gpu) -> Handle {
    gpu.queue
}

fn fill(gpu: &Gpu, buffer: Handle, pattern: u32, wait: &[Handle]) -> Handle {
    let mut event = null_mut();
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        buffer,
        (&raw const pattern).cast(),
        4,
        0,
        BYTES,
        wait.len() as u32,
        list_of(wait),
        &raw mut event
    ));
    event
}

fn read_later(gpu: &Gpu, buffer: Handle, to: &mut [u32], blocking: u32) {
    ok!(clEnqueueReadBuffer(
        gpu.queue,
        buffer,
        blocking,
        0,
        size_of_val(to),
        to.as_mut_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
}

fn plus(gpu: &Gpu, kernel: Handle, wait: Handle) {
    let items = WORDS;
    ok!(clEnqueueNDRangeKernel(
        gpu.queue,
        kernel,
        1,
        null(),
        &raw const items,
        null(),
        1,
        &raw const wait,
        null_mut()
    ));
}

static CALLED: AtomicU32 = AtomicU32::new(0);
static CALLED_WITH: AtomicI32 = AtomicI32::new(i32::MAX);

unsafe extern "C" fn called(_event: Handle, status: i32, _user: *mut c_void) {
    CALLED_WITH.store(status, Ordering::SeqCst);
    CALLED.fetch_add(1, Ordering::SeqCst);
}

fn wait_for_calls(count: u32) {
    while CALLED.load(Ordering::SeqCst) < count {
        std::thread::yield_now();
    }
}

/// Everything that such a command needs stays as it was when it was enqueued, over two moves.
#[test]
fn held_commands_run_after_the_moves_as_they_were_enqueued() {
    let _alone = alone();
    CALLED.store(0, Ordering::SeqCst);
    let gpu = Gpu::new();
    let kernel = gpu.kernel(PLUS, "plus");
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, BYTES),
        gpu.buffer(CL_MEM_READ_WRITE, BYTES),
    );
    gpu.write(a, 0, &[100_u32; WORDS]);
    gpu.write(b, 0, &[7_u32; WORDS]);
    let user = user_event(&gpu);
    set(kernel, 0, &a);
    set(kernel, 1, &1_u32);
    plus(&gpu, kernel, user);
    // Other arguments by then, and `b` no longer the program's: the queue has them.
    set(kernel, 0, &b);
    set(kernel, 1, &10_u32);
    plus(&gpu, kernel, user);
    let mut from_b = [0_u32; WORDS];
    read_later(&gpu, b, &mut from_b, CL_FALSE);
    set(kernel, 0, &a);
    ok!(clReleaseMemObject(b));
    let copied = fill(&gpu, a, 5, &[]);
    ok!(clSetEventCallback(
        copied,
        CL_COMPLETE,
        Some(called),
        null_mut()
    ));
    let mut from_a = [0_u32; WORDS];
    read_later(&gpu, a, &mut from_a, CL_FALSE);
    there_and_back(1);
    assert!(status_of(copied) > CL_COMPLETE);
    assert_eq!(gpu.beside().read::<u32>(a, 0, 1), [100]);
    there_and_back(0);
    assert!(status_of(copied) > CL_COMPLETE);
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    set_user(user, CL_COMPLETE);
    gpu.finish();
    assert_eq!(status_of(copied), CL_COMPLETE);
    assert_eq!(from_a, [5; WORDS]);
    assert_eq!(from_b, [17; WORDS]);
    wait_for_calls(1);
    there_and_back(0);
    assert_eq!(status_of(copied), CL_COMPLETE);
    assert_eq!(CALLED.load(Ordering::SeqCst), 1);
    assert_eq!(gpu.read::<u32>(a, 0, 2), [5, 5]);
    ok!(clReleaseEvent(copied));
    ok!(clReleaseMemObject(a));
    ok!(clReleaseKernel(kernel));
}

/// Threads in blocking calls do not hold up the move, and come back when another one sets the event.
#[test]
fn threads_blocked_behind_a_user_event_do_not_hold_up_a_move() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (side, third) = (&gpu.beside(), &gpu.beside());
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    gpu.write(buffer, 0, &[1_u32; WORDS]);
    let user = user_event(&gpu);
    let filled = fill(&gpu, buffer, 9, &[user]);
    let done = AtomicU32::new(0);
    let (as_number, filled_number, user_number) = (buffer as usize, filled as usize, user as usize);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            gpu.finish();
            done.fetch_add(1, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let filled = filled_number as Handle;
            ok!(clWaitForEvents(1, &raw const filled));
            done.fetch_add(1, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let (mut values, filled) = ([0_u32; WORDS], filled_number as Handle);
            ok!(clEnqueueReadBuffer(
                queue_of(side),
                as_number as Handle,
                CL_TRUE,
                0,
                BYTES,
                values.as_mut_ptr().cast(),
                1,
                &raw const filled,
                null_mut()
            ));
            assert_eq!(values, [9; WORDS]);
            done.fetch_add(1, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let mut code = i32::MIN;
            let filled = filled_number as Handle;
            let pointer = call!(clEnqueueMapBuffer(
                queue_of(third),
                as_number as Handle,
                CL_TRUE,
                CL_MAP_READ,
                0,
                BYTES,
                1,
                &raw const filled,
                null_mut(),
                &raw mut code
            ));
            assert_eq!(code, CL_SUCCESS);
            // SAFETY: the mapped region has that many words until it is unmapped.
            let first = unsafe { *pointer.cast::<u32>() };
            assert_eq!(first, 9);
            done.fetch_add(1, Ordering::SeqCst);
        });
        // Most of them are in their calls by then; a move must succeed in any case.
        std::thread::sleep(Duration::from_millis(50));
        there_and_back(1);
        there_and_back(0);
        assert_eq!(done.load(Ordering::SeqCst), 0);
        set_user(user_number as Handle, CL_COMPLETE);
    });
    assert_eq!(done.load(Ordering::SeqCst), 4);
    ok!(clReleaseEvent(filled));
    ok!(clReleaseMemObject(buffer));
}

/// In a queue without order only what waits is held back; what does not is waited for by the move.
#[test]
fn a_queue_out_of_order_holds_back_what_waits() {
    let _alone = alone();
    let gpu = Gpu::with_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let buffers: Vec<_> = (0..4)
        .map(|_| gpu.buffer(CL_MEM_READ_WRITE, BYTES))
        .collect();
    let other = gpu.beside();
    for &buffer in &buffers {
        other.write(buffer, 0, &[0_u32; WORDS]);
    }
    let user = user_event(&gpu);
    let held = fill(&gpu, buffers[0], 1, &[user]);
    let free = fill(&gpu, buffers[1], 2, &[]);
    let behind = fill(&gpu, buffers[2], 3, &[held, free]);
    there_and_back(0);
    assert_eq!(status_of(free), CL_COMPLETE);
    assert_eq!(other.read::<u32>(buffers[1], 0, 1), [2]);
    let mut all = null_mut();
    ok!(clEnqueueMarkerWithWaitList(
        gpu.queue,
        0,
        null(),
        &raw mut all
    ));
    ok!(clEnqueueBarrierWithWaitList(
        gpu.queue,
        0,
        null(),
        null_mut()
    ));
    let last = fill(&gpu, buffers[3], 4, &[]);
    there_and_back(1);
    for event in [held, behind, all, last] {
        assert!(status_of(event) > CL_COMPLETE);
    }
    set_user(user, CL_COMPLETE);
    gpu.finish();
    for (buffer, expected) in buffers.iter().zip(1_u32..) {
        assert_eq!(other.read::<u32>(*buffer, 0, 1), [expected]);
    }
    for event in [held, free, behind, all, last] {
        assert_eq!(status_of(event), CL_COMPLETE);
        ok!(clReleaseEvent(event));
    }
    for buffer in buffers {
        ok!(clReleaseMemObject(buffer));
    }
}

/// A user event that fails after the move fails what waited for it, as it would have before.
#[test]
fn a_user_event_that_fails_after_the_move_fails_what_waited() {
    let _alone = alone();
    CALLED.store(0, Ordering::SeqCst);
    let gpu = Gpu::with_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    gpu.beside().write(buffer, 0, &[1_u32; WORDS]);
    let user = user_event(&gpu);
    let filled = fill(&gpu, buffer, 9, &[user]);
    ok!(clSetEventCallback(
        filled,
        CL_COMPLETE,
        Some(called),
        null_mut()
    ));
    there_and_back(0);
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    set_user(user, -5);
    assert_eq!(
        call!(clWaitForEvents(1, &raw const filled)),
        CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
    );
    assert!(status_of(filled) < 0);
    wait_for_calls(1);
    assert!(CALLED_WITH.load(Ordering::SeqCst) < 0);
    there_and_back(0);
    assert!(status_of(filled) < 0);
    assert_eq!(gpu.beside().read::<u32>(buffer, 0, 1), [1]);
    ok!(clReleaseEvent(filled));
    ok!(clReleaseMemObject(buffer));
}

static RAN: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn native(_args: *mut c_void) {
    RAN.fetch_add(1, Ordering::SeqCst);
}

/// A function of the program's must not be called twice: that is a reason, and nothing is lost.
#[test]
fn a_native_kernel_behind_a_user_event_is_a_reason() {
    let _alone = alone();
    let gpu = Gpu::new();
    let user = user_event(&gpu);
    ok!(clEnqueueNativeKernel(
        gpu.queue,
        Some(native),
        null_mut(),
        0,
        0,
        null(),
        null_mut(),
        1,
        &raw const user,
        null_mut()
    ));
    let (capture, error) = begin().quiesce(PATIENCE).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, MoveError::NotQuiet { why, .. } if why.to_string().contains("calls a function")),
        "{error}"
    );
    drop(capture);
    assert_eq!(RAN.load(Ordering::SeqCst), 0);
    set_user(user, CL_COMPLETE);
    gpu.finish();
    there_and_back(0);
    assert_eq!(RAN.load(Ordering::SeqCst), 1);
}
