//! What held commands wait for, and what runs beside them, over a move.

mod common;

use std::ffi::c_void;
use std::ptr::null_mut;
use std::time::Duration;

use common::events::{list_of, set_user, status_of, user_event};
use common::moving::{alone, there_and_back, there_and_back_with};
use common::*;

const WORDS: usize = 256;
const BYTES: usize = WORDS * 4;
const OUT_OF_ORDER: u64 = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;

/// Longer than anything here takes that does not wait for ever.
const LONG: Duration = Duration::from_secs(20);

fn fill(gpu: &Gpu, buffer: Handle, bytes: usize, pattern: u32, wait: &[Handle]) -> (i32, Handle) {
    let mut event = null_mut();
    let code = call!(clEnqueueFillBuffer(
        gpu.queue,
        buffer,
        (&raw const pattern).cast(),
        4,
        0,
        bytes,
        wait.len() as u32,
        list_of(wait),
        &raw mut event
    ));
    (code, event)
}

fn filled(gpu: &Gpu, buffer: Handle, pattern: u32, wait: &[Handle]) -> Handle {
    let (code, event) = fill(gpu, buffer, BYTES, pattern, wait);
    assert_eq!(code, CL_SUCCESS);
    event
}

/// A queue in which the driver refused the held command has none.
#[test]
fn a_refused_command_is_not_waited_for() {
    let _alone = alone();
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    let user = user_event(&gpu);
    let (code, _) = fill(&gpu, buffer, 2 * BYTES, 1, &[user]);
    assert_eq!(code, CL_INVALID_VALUE);
    let (said, finished) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            gpu.finish();
            said.send(()).unwrap();
        });
        let finished = finished.recv_timeout(LONG);
        // Lets the thread go in any case.
        ok!(clSetUserEventStatus(user, CL_COMPLETE));
        assert_eq!(finished, Ok(()));
    });
    ok!(clReleaseEvent(user));
    let user = user_event(&gpu);
    let (code, _) = fill(&gpu, buffer, 2 * BYTES, 1, &[user]);
    assert_eq!(code, CL_INVALID_VALUE);
    // What was enqueued since is waited for by the move, not only what came before the refused one.
    gpu.write(buffer, 0, &[3_u32; WORDS]);
    there_and_back(1);
    assert_eq!(gpu.read::<u32>(buffer, 0, 2), [3, 3]);
    set_user(user, CL_COMPLETE);
    there_and_back(0);
    ok!(clReleaseMemObject(buffer));
}

unsafe extern "C" fn native(args: *mut c_void) {
    // SAFETY: the driver put the address of the memory where the program told it to, in its copy of these arguments.
    unsafe { (*args.cast::<*mut u32>()).write(77) };
}

/// What a native kernel writes when it is let go is captured.
#[test]
fn a_native_kernel_that_is_let_go_has_written() {
    let _alone = alone();
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    gpu.write(buffer, 0, &[1_u32; WORDS]);
    let user = user_event(&gpu);
    let mut args: [*mut c_void; 1] = [null_mut()];
    let mut place: *const c_void = args.as_ptr().cast();
    ok!(clEnqueueNativeKernel(
        gpu.queue,
        Some(native),
        args.as_mut_ptr().cast(),
        size_of_val(&args),
        1,
        &raw const buffer,
        &raw mut place,
        1,
        &raw const user,
        null_mut()
    ));
    there_and_back_with(2, || {
        set_user(user, CL_COMPLETE);
        gpu.finish();
    });
    assert_eq!(gpu.read::<u32>(buffer, 0, 2), [77, 1]);
    ok!(clReleaseMemObject(buffer));
}

/// A command that waits for two user events, one of which fails, never runs: neither itself nor what waits for it.
#[test]
fn what_waited_for_a_failed_event_stays_unrun() {
    let _alone = alone();
    let gpu = Gpu::with_queue(OUT_OF_ORDER);
    let other = gpu.beside();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
    other.write(buffer, 0, &[1_u32; WORDS]);
    let (fails, open) = (user_event(&gpu), user_event(&gpu));
    let first = filled(&gpu, buffer, 2, &[fails]);
    let both = filled(&gpu, buffer, 3, &[fails, open]);
    let behind = filled(&gpu, buffer, 4, &[first, open]);
    set_user(fails, -5);
    for _ in 0..2 {
        there_and_back(0);
        for event in [first, both, behind] {
            assert!(status_of(event) < 0);
        }
    }
    set_user(open, CL_COMPLETE);
    gpu.finish();
    assert_eq!(other.read::<u32>(buffer, 0, 2), [1, 1]);
    for event in [first, both, behind] {
        ok!(clReleaseEvent(event));
    }
    ok!(clReleaseMemObject(buffer));
}
