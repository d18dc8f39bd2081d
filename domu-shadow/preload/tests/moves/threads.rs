//! Threads that go on while the program is moved.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::common::moving::*;
use crate::common::*;

static NOTIFIED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn notify(_event: Handle, _status: i32, _user: *mut c_void) {
    NOTIFIED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn an_open_user_event_moves_and_releases_a_blocked_thread_while_draining() {
    let _alone = alone();
    let gpu = Gpu::new();
    let user = make!(clCreateUserEvent(gpu.context));
    ok!(clSetEventCallback(
        user,
        CL_COMPLETE,
        Some(notify),
        null_mut()
    ));
    there_and_back(0);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    let pattern = 5_u32;
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        buffer,
        (&raw const pattern).cast(),
        4,
        0,
        4096,
        1,
        &raw const user,
        null_mut()
    ));
    let waiting = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            waiting.store(true, Ordering::SeqCst);
            gpu.finish();
        });
        while !waiting.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let user = user as usize;
        // Another thread of the program sets the event while the gate drains: it must get through.
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            ok!(clSetUserEventStatus(user as Handle, CL_COMPLETE));
        });
        there_and_back(0);
    });
    assert_eq!(gpu.read::<u32>(buffer, 0, 1), [5]);
    // Callbacks come from a thread of their own.
    while NOTIFIED.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(NOTIFIED.load(Ordering::SeqCst), 1);
    ok!(clReleaseEvent(user));
    ok!(clReleaseMemObject(buffer));
}

/// One thread's work until `stop`; returns how often it ran the kernel.
fn count_until(stop: &AtomicBool, gpu: &Gpu, seed: usize) -> u32 {
    let mine = gpu.beside();
    let buffer = mine.buffer(CL_MEM_READ_WRITE, 16_384);
    mine.write(buffer, 0, &[0_u32; 4096]);
    let kernel = mine.kernel(COUNT, "count");
    set(kernel, 0, &buffer);
    let mut runs = 0;
    while !stop.load(Ordering::Relaxed) {
        let temporary = mine.buffer(CL_MEM_READ_WRITE, 1000 + seed);
        set(kernel, 0, &buffer);
        mine.run(kernel, 4096);
        runs += 1;
        if runs % 7 == seed as u32 {
            let part: Vec<u32> = mine.read(buffer, 4 * seed, 16);
            assert_eq!(part, [runs; 16]);
        }
        if runs % 11 == 0 {
            let pointer = make!(clEnqueueMapBuffer(
                mine.queue,
                buffer,
                CL_TRUE,
                CL_MAP_READ | CL_MAP_WRITE,
                0,
                4,
                0,
                null(),
                null_mut()
            ));
            // SAFETY: four mapped bytes, used by this thread only.
            assert_eq!(unsafe { pointer.cast::<u32>().read() }, runs);
            ok!(clEnqueueUnmapMemObject(
                mine.queue,
                buffer,
                pointer,
                0,
                null(),
                null_mut()
            ));
        }
        let mut event = null_mut();
        ok!(clEnqueueMarkerWithWaitList(
            mine.queue,
            0,
            null(),
            &raw mut event
        ));
        ok!(clWaitForEvents(1, &raw const event));
        ok!(clReleaseEvent(event));
        ok!(clReleaseMemObject(temporary));
    }
    assert_eq!(mine.read::<u32>(buffer, 0, 4096), [runs; 4096]);
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
    runs
}

/// Threads count on the device while the program is moved over and over; every run must be in the result exactly once.
#[test]
fn threads_hammer_through_many_moves() {
    const THREADS: usize = 3;
    const MOVES: u32 = 8;
    let _alone = alone();
    let stop = AtomicBool::new(false);
    let gpu = Gpu::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (stop, gpu) = (&stop, &gpu);
                scope.spawn(move || count_until(stop, gpu, seed))
            })
            .collect();
        for at in 0..MOVES {
            std::thread::sleep(Duration::from_millis(u64::from(at * 13 % 40)));
            there_and_back(at % 3);
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });
}
