//! Who else holds the GPU is named before a move begins.

use crate::rig::{Counter, in_child, node};
use std::fs::File;
use std::process::{Command, Stdio};
use xl_gpu_shadow::driver::foreign;
use xl_gpu_shadow::mover::{self, MoveError};

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
