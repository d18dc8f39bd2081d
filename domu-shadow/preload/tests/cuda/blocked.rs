//! What no move can take along: the program goes on unharmed, and the reason is said.

use crate::native;
use crate::rig::{Front, Moves, Scratch, User};

/// Moved before, refused with the reason while it is there, moved again once it is gone.
#[test]
fn managed_memory() {
    let user = User::new("managed");
    let scratch = Scratch::new(user.name);
    let shadow = native::stress_folder();
    let expected = user.output(&scratch, Front::None, None).0;
    let user = User {
        variables: vec![("XL_GPU_LOG", "info".to_owned())],
        ..user
    };
    let front = Front::Shadow(&shadow);
    let (output, moves) = user.ended(&scratch, front, Some("calls=17"), "");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{errors}"
    );
    assert!(output.status.success(), "{errors}");
    assert!(moves.moves > 0 && moves.blocked > 0, "{moves:?}: {errors}");
    assert!(errors.contains("managed"), "{errors}");
    assert_eq!(moves.failed, 0, "{moves:?}: {errors}");
}

/// The process that it belongs to moves all the time, the one that opened it before and afterwards.
#[test]
fn memory_shared_with_another_process() {
    let user = User::new("ipc");
    let scratch = Scratch::new(user.name);
    let shadow = native::stress_folder();
    let expected = user.output(&scratch, Front::None, None).0;
    let front = Front::Shadow(&shadow);
    assert_eq!(user.output(&scratch, front, None).0, expected);
    let (output, moves) = user.ended(&scratch, front, Some("calls=31"), "");
    let exporters = Moves::read(&scratch.path().join("report.exporter"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let figures = format!("{moves:?}, of the other {exporters:?}: {errors}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{figures}"
    );
    assert!(errors.contains("cuIpcOpenMemHandle"), "{figures}");
    assert!(moves.moves > 0 && moves.blocked > 0, "{figures}");
    assert!(exporters.moves > 0 && exporters.blocked == 0, "{figures}");
    assert_eq!((moves.failed, exporters.failed), (0, 0), "{figures}");
}

#[test]
fn memory_of_another_api() {
    User {
        moves: false,
        rates: &["calls=13"],
        ..User::new("external")
    }
    .runs();
}
