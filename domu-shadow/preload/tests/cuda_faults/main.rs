//! A driver that fails, is slow, leaves things behind or is another one after a restore: the program computes what it always does.
//!
//! Over the stub driver only. Needs `cc`.

mod devices;
mod every_call;
mod killed;
#[allow(dead_code, reason = "each test binary uses a part")]
#[path = "../common/native.rs"]
mod native;
#[allow(dead_code, reason = "each test binary uses a part")]
#[path = "../cuda/rig.rs"]
mod rig;

use rig::{Front, Moves, Scratch, User};

/// A program with what it prints when nothing goes wrong, under the shadow.
struct Case {
    user: User,
    scratch: Scratch,
    shadow: native::Folder,
    expected: String,
}

impl Case {
    fn new(user: User) -> Case {
        let scratch = Scratch::new(user.name);
        let expected = user.output(&scratch, Front::None, None).0;
        assert!(!expected.is_empty());
        Case {
            user,
            scratch,
            shadow: native::stress_folder(),
            expected,
        }
    }

    /// Moved at this rate over a stub with these options: it prints what it always does. The moves, and what was said.
    fn moved(&self, rate: &str, options: &str) -> (Moves, String) {
        let front = Front::Shadow(&self.shadow);
        let (output, moves) = self.user.ended(&self.scratch, front, Some(rate), options);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status;
        assert!(status.success(), "{options}: {status}: {text}{errors}");
        assert_eq!(text, self.expected, "{options}: {errors}");
        (moves, errors)
    }
}

#[test]
fn a_driver_that_takes_its_time() {
    let case = Case::new(User::new("graphs"));
    for slow in [
        "*:100us",
        "cuCheckpointProcessCheckpoint:100ms",
        "cuCtxSynchronize:20ms",
    ] {
        let (moves, errors) = case.moved("calls=40", &format!("slow={slow}"));
        assert!(
            moves.moves > 0 && moves.failed == 0,
            "{slow}: {moves:?}: {errors}"
        );
    }
}

/// Without the functions for it no move is tried, and the program goes on.
#[test]
fn a_driver_without_checkpoints() {
    let case = Case::new(User::new("memory"));
    let (moves, errors) = case.moved("calls=20", "no_checkpoint");
    assert!(moves.moves == 0 && moves.blocked > 0, "{moves:?}: {errors}");
}

/// What the driver keeps is named; only a daemon refuses to go on with that, so stress has it undone as a move.
#[test]
fn checkpoints_that_fail() {
    let case = Case::new(User {
        arguments: &["40"],
        ..User::new("memory")
    });
    for call in ["cuCheckpointProcessLock", "cuCheckpointProcessCheckpoint"] {
        for code in ["NOT_READY", "UNKNOWN"] {
            let (moves, errors) = case.moved("calls=40", &format!("fail={call}:*:{code}"));
            let said = format!("still held: CUDA's state: the CUDA driver's {call}");
            assert!(errors.contains(&said), "{call} {code}: {moves:?}: {errors}");
        }
    }
}

#[test]
fn a_restore_that_fails_is_tried_again() {
    let case = Case::new(User {
        arguments: &["40"],
        ..User::new("memory")
    });
    for nth in [1, 3] {
        let (moves, errors) = case.moved("calls=20", &format!("restore_fails={nth}"));
        assert!(moves.moves > 0 && moves.failed > 0, "{moves:?}: {errors}");
    }
}

/// Addresses that cannot be had again are left to the driver.
#[test]
fn addresses_that_are_not_given_back() {
    let case = Case::new(User::new("lists"));
    for refused in [
        "refuse_address=1",
        "refuse_address=3",
        "refuse_address=1,refuse_address=2,refuse_address=4",
    ] {
        let (moves, errors) = case.moved("calls=9", refused);
        assert!(moves.moves > 0, "{refused}: {moves:?}: {errors}");
    }
}

/// Fresh memory holds anything: nothing may count on zeros.
#[test]
fn memory_that_is_zero_or_not() {
    let case = Case::new(User::new("vmm"));
    for options in ["zero", ""] {
        let (moves, errors) = case.moved("calls=4", options);
        assert!(moves.moves > 0 && moves.failed == 0, "{moves:?}: {errors}");
    }
}
