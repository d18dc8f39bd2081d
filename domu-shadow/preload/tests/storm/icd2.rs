//! Drivers that leave dispatching to the loader (`cl_khr_icd` 2.0).

use crate::common::moving::there_and_back;
use crate::common::*;
use crate::rig::{Counter, Stub, in_child};

/// Handles of such a driver start with a table in which nothing can be called.
#[test]
fn a_driver_that_leaves_dispatching_to_the_loader_works_and_moves() {
    let test = "icd2::a_driver_that_leaves_dispatching_to_the_loader_works_and_moves";
    in_child(test, "nvidia,icd2", || {
        let mut counter = Counter::new();
        counter.check();
        for _ in 0..3 {
            Stub::next_load("icd2");
            counter.move_and_check();
        }
        // The next driver may be an older one.
        Stub::next_load("");
        counter.move_and_check();
    });
}

/// One of each version in one process: calls find the right driver by the handles.
#[test]
fn both_versions_work_side_by_side() {
    let test = "icd2::both_versions_work_side_by_side";
    in_child(test, "icd2", || {
        // SAFETY: the process has one test thread; no other reads the environment now.
        unsafe {
            let stub = std::env::var_os("OCL_ICD_VENDORS").unwrap();
            std::env::set_var("OCL_ICD_FILENAMES", stub);
            std::env::remove_var("OCL_ICD_VENDORS");
        }
        let mut platforms = [std::ptr::null_mut(); 2];
        let mut count = 0;
        ok!(clGetPlatformIDs(2, platforms.as_mut_ptr(), &raw mut count));
        assert!(count >= 2, "pocl is not installed");
        let programs = platforms.map(Gpu::of_platform);
        let buffers = programs.each_ref().map(|gpu| {
            let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
            gpu.write(buffer, 0, &[7_u32; 16]);
            buffer
        });
        there_and_back(1);
        for (gpu, buffer) in programs.iter().zip(buffers) {
            assert_eq!(gpu.read::<u32>(buffer, 0, 16), [7; 16]);
            ok!(clReleaseMemObject(buffer));
        }
    });
}
