//! A driver that fails, is slow, leaves things behind or is another one after a restore: the program computes what it always does.
//!
//! Over the stub driver only. Needs `cc`. Rates are for some ten moves a program.

mod checkpoints;
mod devices;
mod every_call;
mod killed;
mod log;
#[allow(dead_code, reason = "each test binary uses a part")]
#[path = "../common/native.rs"]
mod native;
#[allow(dead_code, reason = "each test binary uses a part")]
#[path = "../cuda/rig.rs"]
mod rig;

use std::fs;
use std::path::PathBuf;

use log::Line;
use rig::{Front, Moves, Scratch, User};

/// A program with what it prints when nothing goes wrong, under the shadow.
struct Case {
    user: User,
    scratch: Scratch,
    shadow: native::Folder,
    expected: String,
}

/// What came of it.
#[derive(Debug)]
struct Done {
    moves: Moves,
    errors: String,
    calls: Vec<Line>,
}

impl Done {
    /// How often a function gave this answer, to whomever.
    fn answers(&self, function: &str, code: i32) -> usize {
        let is_one = |line: &&Line| line.function == function && line.answer == code;
        self.calls.iter().filter(is_one).count()
    }

    /// For messages.
    fn said(&self) -> String {
        format!("{:?}: {}", self.moves, self.errors)
    }
}

impl Case {
    fn new(user: User) -> Case {
        let scratch = Scratch::new(user.name);
        let expected = user.output(&scratch, Front::None, None).0;
        assert!(!expected.is_empty());
        let case = Case {
            user,
            scratch,
            shadow: native::stress_folder(),
            expected,
        };
        fs::write(case.log(), "").unwrap();
        case
    }

    /// Memory that comes and goes, of both kinds.
    fn with_memory() -> Case {
        Case::new(User {
            arguments: &["40", "1500000"],
            ..User::new("memory")
        })
    }

    /// The calls of the driver are logged here.
    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// Moved at this rate over a stub with these options: it prints what it always does.
    fn moved(&self, rate: &str, options: &str) -> Done {
        fs::write(self.log(), "").unwrap();
        let logged = format!("log={},{options}", self.log().display());
        let front = Front::Shadow(&self.shadow);
        let (output, moves) = self.user.ended(&self.scratch, front, Some(rate), &logged);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status;
        assert!(status.success(), "{options}: {status}: {text}{errors}");
        assert_eq!(text, self.expected, "{options}: {errors}");
        Done {
            moves,
            errors,
            calls: log::read(&self.log()),
        }
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
        let Done { moves, errors, .. } = case.moved("calls=9", &format!("slow={slow}"));
        assert!(
            moves.moves > 0 && moves.failed == 0,
            "{slow}: {moves:?}: {errors}"
        );
    }
}

/// Fresh memory holds anything: nothing may count on zeros.
#[test]
fn memory_that_is_zero_or_not() {
    let case = Case::new(User::new("vmm"));
    for options in ["zero", ""] {
        let Done { moves, errors, .. } = case.moved("calls=43", options);
        assert!(moves.moves > 0 && moves.failed == 0, "{moves:?}: {errors}");
    }
}
