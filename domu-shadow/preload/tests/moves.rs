//! There and back: a running program captured, unloaded, loaded again and restored, and its results.

mod common;

use common::moving::*;
use common::*;
use runtime::mover::{self, MoveError, OwnedBytes, Round};
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn objects_and_contents_survive() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 40_000),
        gpu.buffer(CL_MEM_READ_ONLY, 40_000),
    );
    let numbers: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
    gpu.write(a, 0, &numbers);
    gpu.write(b, 0, &numbers);
    let kernel = gpu.kernel(ADD, "add");
    set(kernel, 0, &a);
    set(kernel, 1, &b);
    set(kernel, 2, &1.0_f32);
    let region = cl_buffer_region {
        origin: 4096,
        size: 4096,
    };
    let info = (&raw const region).cast();
    let sub = make!(clCreateSubBuffer(a, 0, CL_BUFFER_CREATE_TYPE_REGION, info));
    let failed = gpu.program("__kernel void k() { wrong; }");
    assert_eq!(
        call!(clBuildProgram(failed, 0, null(), null(), None, null_mut())),
        CL_BUILD_PROGRAM_FAILURE
    );
    let log = |program| {
        let mut text = vec![0_u8; 4096];
        ok!(clGetProgramBuildInfo(
            program,
            gpu.device,
            CL_PROGRAM_BUILD_LOG,
            4096,
            text.as_mut_ptr().cast(),
            null_mut()
        ));
        text
    };
    let log_before = log(failed);
    let mut event = null_mut();
    let items = 10_000_usize;
    ok!(clEnqueueNDRangeKernel(
        gpu.queue,
        kernel,
        1,
        null(),
        &raw const items,
        null(),
        0,
        null(),
        &raw mut event
    ));
    ok!(clWaitForEvents(1, &raw const event));
    let time = || {
        let mut time = 0_u64;
        ok!(clGetEventProfilingInfo(
            event,
            CL_PROFILING_COMMAND_END,
            8,
            (&raw mut time).cast(),
            null_mut()
        ));
        time
    };
    let time_before = time();
    for moves in 1..=3 {
        there_and_back(moves % 2);
        assert_eq!(time(), time_before);
        assert!(log(failed) == log_before, "the build log changed");
        let mut status = 9;
        ok!(clGetEventInfo(
            event,
            CL_EVENT_COMMAND_EXECUTION_STATUS,
            4,
            (&raw mut status).cast(),
            null_mut()
        ));
        assert_eq!(status, CL_COMPLETE);
        // The arguments are still set, and a wait list with the old event still does.
        ok!(clEnqueueNDRangeKernel(
            gpu.queue,
            kernel,
            1,
            null(),
            &raw const items,
            null(),
            1,
            &raw const event,
            null_mut()
        ));
        let sums: Vec<f32> = gpu.read(a, 0, 10_000);
        let rounds = (moves + 1) as f32;
        assert!(
            sums.iter()
                .enumerate()
                .all(|(i, &sum)| sum == i as f32 + rounds * (i as f32 + 1.0))
        );
        assert_eq!(gpu.read::<f32>(sub, 0, 1), [sums[1024]]);
    }
    ok!(clReleaseEvent(event));
    for buffer in [sub, a, b] {
        ok!(clReleaseMemObject(buffer));
    }
}

#[test]
fn mapped_memory_keeps_its_address_and_its_bytes() {
    let _alone = alone();
    let gpu = Gpu::new();
    let mut host = vec![1_u8; 8192];
    let buffers = [
        gpu.buffer(CL_MEM_READ_WRITE, 8192),
        gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, 8192),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_USE_HOST_PTR,
            8192,
            host.as_mut_ptr().cast()
        )),
    ];
    for buffer in buffers {
        gpu.write(buffer, 0, &[1_u8; 8192]);
        let pointer = make!(clEnqueueMapBuffer(
            gpu.queue,
            buffer,
            CL_TRUE,
            CL_MAP_READ | CL_MAP_WRITE,
            4096,
            100,
            0,
            null(),
            null_mut()
        ));
        let bytes = pointer.cast::<u8>();
        // SAFETY: 100 mapped bytes, used by this thread only.
        unsafe { bytes.write_bytes(2, 50) };
        there_and_back(1);
        // SAFETY: as above; still mapped.
        unsafe {
            assert_eq!(
                (bytes.read(), bytes.add(49).read(), bytes.add(50).read()),
                (2, 2, 1)
            );
            bytes.add(50).write_bytes(3, 50);
        }
        ok!(clEnqueueUnmapMemObject(
            gpu.queue,
            buffer,
            pointer,
            0,
            null(),
            null_mut()
        ));
        let read: Vec<u8> = gpu.read(buffer, 4095, 102);
        assert_eq!(
            (read[0], read[1], read[50], read[51], read[100], read[101]),
            (1, 2, 2, 3, 3, 1)
        );
        ok!(clReleaseMemObject(buffer));
    }
}

#[test]
fn later_rounds_carry_only_what_was_written() {
    let _alone = alone();
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 4096),
        gpu.buffer(CL_MEM_READ_WRITE, 4096),
    );
    let constant = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    for buffer in [a, b, constant] {
        gpu.write(buffer, 0, &[0_u32; 1024]);
    }
    let kernel = gpu.kernel(ADD, "add");
    set(kernel, 0, &a);
    set(kernel, 1, &constant);
    set(kernel, 2, &1.0_f32);
    let mut capture = begin();
    let first = capture.round();
    let of = |round: &Round| {
        round
            .regions
            .iter()
            .map(|region| region.object)
            .collect::<Vec<_>>()
    };
    let all = of(&first);
    assert_eq!(all.len(), 3);
    assert_eq!(first.bytes(), 3 * 4096);
    assert!(of(&capture.round()).is_empty());
    gpu.run(kernel, 1024);
    gpu.finish();
    // `a` is written; `constant` is a pointer to const.
    assert_eq!(of(&capture.round()), [all[0]]);
    let pattern = 1_u32;
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        b,
        (&raw const pattern).cast(),
        4,
        0,
        4096,
        0,
        null(),
        null_mut()
    ));
    gpu.finish();
    let fourth = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    ok!(clReleaseMemObject(constant));
    let round = capture.round();
    assert_eq!(of(&round).len(), 2);
    assert_eq!(of(&round)[0], all[1]);
    assert_eq!(round.dropped, [all[2]]);
    assert!(matches!(
        capture.read(all[2], 0, OwnedBytes::zeroed(1)),
        Err(MoveError::Gone(_))
    ));
    let beyond = capture.read(all[0], 4000, OwnedBytes::zeroed(97));
    assert!(matches!(beyond, Err(MoveError::OutOfRange { .. })));
    let user = make!(clCreateUserEvent(gpu.context));
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        b,
        (&raw const pattern).cast(),
        4,
        0,
        4096,
        1,
        &raw const user,
        null_mut()
    ));
    assert_eq!(of(&capture.round()), [all[1]]);
    assert!(of(&capture.round()).is_empty());
    // What a user event held back writes once it is set.
    ok!(clSetUserEventStatus(user, CL_COMPLETE));
    gpu.finish();
    assert_eq!(of(&capture.round()), [all[1]]);
    assert!(of(&capture.round()).is_empty());
    assert!(matches!(mover::begin(), Err(MoveError::Busy)));
    drop(capture);
    for buffer in [a, b, fourth] {
        ok!(clReleaseMemObject(buffer));
    }
    ok!(clReleaseEvent(user));
}

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
