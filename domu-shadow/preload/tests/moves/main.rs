//! There and back: a running program captured, unloaded, loaded again and restored, and its results.

#[path = "../common/mod.rs"]
mod common;
mod threads;

use common::events::status_of;
use common::moving::*;
use common::*;
use runtime::mover::{self, MoveError, OwnedBytes, Round};
use std::ptr::{null, null_mut};

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
        assert_eq!(status_of(event), CL_COMPLETE);
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
