//! Moves over the stub driver, which checks its caller, leaves what NVIDIA's driver leaves, and fails on request.

mod binaries;
mod blocking;
mod builds;
#[path = "../common/mod.rs"]
mod common;
mod held;
mod holders;
mod icd2;
mod programs;
mod returning;
mod rig;
mod session;
mod shortage;
mod siblings;

use rig::{Counter, Held, Stub, in_child, in_child_as};
use runtime::mover::MoveError;
use std::time::Duration;

#[test]
fn cycles_leave_nothing_behind() {
    in_child("cycles_leave_nothing_behind", "nvidia", || {
        runtime::process_exit::watch();
        let mut counter = Counter::new();
        counter.move_and_check();
        counter.move_and_check();
        let before = Held::now();
        // More than there are places for what NVIDIA's driver reserves at each load.
        for _ in 0..150 {
            counter.move_and_check();
        }
        let after = Held::now();
        // A thread of the moves before may still have been ending then.
        assert!(
            after.files <= before.files && after.threads <= before.threads,
            "{after:?} after {before:?}"
        );
        // The heap may take some pages more; a driver that left anything would leave 150 times as much.
        assert!(
            after.mappings < before.mappings + 75,
            "{after:?} after {before:?}"
        );
        // The stub's static objects, which no unloading frees, are 4 KiB a load; its exit handlers, 38 KiB.
        assert!(
            after.heap < before.heap + 150 * (8 << 10),
            "{after:?} after {before:?}"
        );
    });
}

/// NVIDIA's driver leaves tables of the allocator behind: the stub does under its name.
#[test]
fn what_a_driver_forgets_is_freed() {
    let test = "what_a_driver_forgets_is_freed";
    in_child_as(
        test,
        Some("libnvidia-opencl.so.1"),
        "nvidia,forget=2640",
        || {
            let mut counter = Counter::new();
            Stub::next_load("forget=2640");
            counter.move_and_check();
            let before = Held::now();
            for _ in 0..40 {
                counter.move_and_check();
            }
            let after = Held::now();
            // 40 times 5 MiB, if they stayed.
            assert!(
                after.heap < before.heap + (4 << 20),
                "{after:?} after {before:?}"
            );
            assert!(
                after.mappings < before.mappings + 20,
                "{after:?} after {before:?}"
            );
        },
    );
}

/// Where the program had a library of the driver's family before, nothing is: it may be that library's.
#[test]
fn what_may_be_the_programs_is_not_freed() {
    let test = "what_may_be_the_programs_is_not_freed";
    let options = "nvidia,forget=2640";
    in_child_as(test, Some("libnvidia-opencl.so.1"), options, || {
        let folder = std::path::PathBuf::from(rig::node());
        let folder = folder.parent().unwrap();
        let (real, link) = (
            folder.join("libnvidia-fbc.so.580.1"),
            folder.join("libnvidia-fbc.so.1"),
        );
        let compiled = std::process::Command::new("cc")
            .args(["-shared", "-x", "c", "/dev/null", "-o"])
            .arg(&real)
            .status();
        assert!(compiled.unwrap().success());
        std::os::unix::fs::symlink(&real, &link).unwrap();
        // SAFETY: a library without code.
        let _held = unsafe { libloading::Library::new(&link) }.unwrap();
        let mut counter = Counter::new();
        Stub::next_load("forget=2640");
        counter.move_and_check();
        let before = Held::now();
        counter.move_and_check();
        let after = Held::now();
        // Twice 2640 KiB a load.
        assert!(
            after.heap > before.heap + (5000 << 10),
            "{after:?} after {before:?}"
        );
    });
}

/// Whatever cannot be made again, nothing of the program is lost: the next attempt succeeds.
#[test]
fn a_restore_that_fails_can_be_tried_again() {
    const FAILING: [&str; 6] = [
        "clCreateContext",
        "clCreateCommandQueue",
        "clCreateBuffer",
        "clCreateSubBuffer",
        "clCreateKernel",
        "clSetKernelArg",
    ];
    in_child("a_restore_that_fails_can_be_tried_again", "nvidia", || {
        let mut counter = Counter::new();
        for function in FAILING {
            let (mut detached, store) = counter.detach();
            for _ in 0..2 {
                Stub::next_load(&format!("fail={function}:1:-6"));
                let error;
                (detached, error) = match detached.reload() {
                    Ok(_) => panic!("{function} failed and nobody noticed"),
                    Err(failed) => failed,
                };
                assert!(
                    matches!(error, MoveError::Driver { code: -6, .. }),
                    "{function}: {error}"
                );
                rig::assert_device_is_free();
            }
            Stub::next_load("");
            counter.attach(detached, &store);
            counter.check();
        }
    });
}

#[test]
fn no_platform_is_an_error_that_passes() {
    in_child("no_platform_is_an_error_that_passes", "nvidia", || {
        let mut counter = Counter::new();
        let (detached, store) = counter.detach();
        Stub::next_load("no_such_option");
        let Err((detached, error)) = detached.reload() else {
            panic!("a driver without a platform was taken");
        };
        assert!(matches!(error, MoveError::NoDevice { .. }), "{error}");
        Stub::next_load("");
        counter.attach(detached, &store);
        counter.check();
    });
}

#[test]
fn the_same_device_takes_the_binaries() {
    in_child("the_same_device_takes_the_binaries", "nvidia", || {
        let mut counter = Counter::new();
        counter.move_and_check();
        let calls = Stub::calls();
        assert!(calls("clCreateProgramWithBinary") > 0);
        assert_eq!(calls("clCreateProgramWithSource"), 0);
    });
}

#[test]
fn another_device_gets_the_source() {
    in_child(
        "another_device_gets_the_source",
        "name_after_reload=another GPU",
        || {
            let mut counter = Counter::new();
            counter.move_and_check();
            assert!(Stub::calls()("clCreateProgramWithSource") > 0);
        },
    );
}

#[test]
fn refused_binaries_are_built_from_source() {
    let options = "driver_after_reload=2.0";
    in_child("refused_binaries_are_built_from_source", options, || {
        let mut counter = Counter::new();
        counter.move_and_check();
        assert!(Stub::calls()("clCreateProgramWithSource") > 0);
    });
}

#[test]
fn a_slow_command_outlasts_the_drain_and_the_program_goes_on() {
    let options = "slow_exec=clEnqueueNDRangeKernel:700ms";
    in_child(
        "a_slow_command_outlasts_the_drain_and_the_program_goes_on",
        options,
        || {
            let mut counter = Counter::new();
            counter.enqueue();
            let (capture, error) = rig::begin()
                .quiesce(Duration::from_millis(30))
                .map(|_| ())
                .unwrap_err();
            assert!(matches!(error, MoveError::NotQuiet { .. }), "{error}");
            drop(capture);
            counter.enqueue();
            counter.check();
            counter.move_and_check();
        },
    );
}

#[test]
fn a_library_that_stays_is_named() {
    for options in ["stay_mapped", "linger_thread"] {
        in_child("a_library_that_stays_is_named", options, || {
            let mut counter = Counter::new();
            for _ in 0..3 {
                let (detached, store) = counter.detach();
                let held = detached.libraries_held();
                assert!(
                    held.iter()
                        .any(|text| text.contains("libxl_gpu_stub_icd.so")),
                    "{held:?}"
                );
                counter.attach(detached, &store);
                counter.check();
            }
        });
    }
}

/// Closing a device under a library that is still there could crash it, or worse.
#[test]
fn a_device_under_a_library_that_stays_is_reported_and_left_open() {
    let options = "nvidia,stay_mapped";
    in_child(
        "a_device_under_a_library_that_stays_is_reported_and_left_open",
        options,
        || {
            let mut counter = Counter::new();
            let (detached, store) = counter.detach();
            assert!(!detached.devices_held().is_empty());
            assert!(rig::device_files() > 0);
            counter.attach(detached, &store);
            counter.check();
        },
    );
}
