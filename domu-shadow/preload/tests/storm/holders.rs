//! Who else holds the GPU is named before a move begins.

use crate::rig::{Counter, in_child, in_child_as, node};
use runtime::mover::{self, MoveError};
use runtime::vendor::foreign;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

#[test]
fn what_the_program_opened_before_keeps_it_until_it_is_closed() {
    in_child(
        "holders::what_the_program_opened_before_keeps_it_until_it_is_closed",
        "nvidia",
        || {
            let held = File::open(node()).unwrap();
            let mut counter = Counter::new();
            counter.check();
            let reason = mover::blocked().expect("it is blocked");
            assert!(reason.contains(&node()), "{reason}");
            assert!(reason.contains("by other means than OpenCL"), "{reason}");
            assert!(matches!(mover::begin(), Err(MoveError::Blocked(_))));
            drop(held);
            counter.move_and_check();
            assert_eq!(mover::blocked(), None);
        },
    );
}

#[test]
fn another_process_is_named_while_it_has_it_open() {
    in_child(
        "holders::another_process_is_named_while_it_has_it_open",
        "nvidia",
        || {
            assert_eq!(foreign::other_processes(), Default::default());
            let mut counter = Counter::new();
            counter.check();
            assert_eq!(foreign::other_processes().holders, [""; 0]);
            let mut other = Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::from(File::open(node()).unwrap()))
                .spawn()
                .unwrap();
            let named = foreign::other_processes().holders;
            let expected = format!("sleep (pid {}) holds {}", other.id(), node());
            other.kill().unwrap();
            other.wait().unwrap();
            assert_eq!(named, [expected]);
            assert_eq!(foreign::other_processes().holders, [""; 0]);
            // It is no reason for the session itself: dom0 decides.
            counter.move_and_check();
        },
    );
}

/// Another one beside the driver's own is not closed under the program.
#[test]
fn what_the_program_opened_beside_the_driver_keeps_it_too() {
    in_child(
        "holders::what_the_program_opened_beside_the_driver_keeps_it_too",
        "nvidia",
        || {
            let mut counter = Counter::new();
            counter.move_and_check();
            let held = File::open(node()).unwrap();
            counter.check();
            let Err(MoveError::Blocked(reason)) = mover::begin() else {
                panic!("nobody noticed");
            };
            let named = format!("{} (file descriptor {})", node(), held.as_raw_fd());
            assert!(reason.contains(&named), "{reason}");
            drop(held);
            counter.move_and_check();
        },
    );
}

/// CUDA may have come after OpenCL, through the library that NVIDIA's OpenCL has loaded, with no descriptor of its own.
#[test]
fn a_program_that_uses_cuda_keeps_the_driver() {
    let test = "holders::a_program_that_uses_cuda_keeps_the_driver";
    in_child_as(test, Some("libnvidia-opencl.so.1"), "nvidia", || {
        let source =
            "static int is_ready; int cuInit(unsigned flags) { is_ready = 1; return (int)flags; }
            int cuDeviceGetCount(int *count) { *count = 1; return is_ready ? 0 : 3; }";
        let folder = std::path::PathBuf::from(node());
        let folder = folder.parent().unwrap();
        let (code, library) = (folder.join("cuda.c"), folder.join("libcuda.so.1"));
        std::fs::write(&code, source).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
            .args([&library, &code])
            .status()
            .unwrap();
        assert!(compiled.success());
        let mut counter = Counter::new();
        // SAFETY: a library without initialisers, and a function of this prototype.
        let cuda = unsafe { libloading::Library::new(&library) }.unwrap();
        counter.check();
        assert_eq!(mover::blocked(), None);
        // SAFETY: as above.
        unsafe {
            cuda.get::<unsafe extern "C" fn(u32) -> i32>(b"cuInit\0")
                .unwrap()(0)
        };
        let Err(MoveError::Blocked(reason)) = mover::begin() else {
            panic!("nobody noticed");
        };
        assert!(
            reason.contains("CUDA (initialised by the program)"),
            "{reason}"
        );
        counter.check();
    });
}

/// A device that no OpenCL driver has opened is the program's own affair.
#[test]
fn a_device_of_the_programs_alone_stays_open() {
    in_child(
        "holders::a_device_of_the_programs_alone_stays_open",
        "nvidia",
        || {
            let mut counter = Counter::new();
            let other = format!("{}-other", node());
            std::fs::write(&other, "here").unwrap();
            let mut held = File::open(other).unwrap();
            counter.check();
            let (detached, store) = counter.detach();
            assert_eq!(detached.devices_held(), [""; 0]);
            counter.attach(detached, &store);
            counter.check();
            let mut text = String::new();
            held.read_to_string(&mut text).unwrap();
            assert_eq!(text, "here");
        },
    );
}
