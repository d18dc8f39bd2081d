//! What no move can take along: the program goes on unharmed, and the reason is said.

use crate::native;
use crate::rig::{Front, Scratch, User};

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

#[test]
fn memory_shared_with_another_process() {
    let user = User::new("ipc");
    let scratch = Scratch::new(user.name);
    let shadow = native::stress_folder();
    let expected = user.output(&scratch, Front::None, None).0;
    let front = Front::Shadow(&shadow);
    assert_eq!(user.output(&scratch, front, None).0, expected);
    // The process that it belongs to can move, the one that opened it cannot. The first move comes at the ninth call, behind the eighth
    // that shares it: memory that has moved is shared no more.
    let (output, moves) = user.ended(&scratch, front, Some("calls=9"), "");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{moves:?}: {errors}"
    );
    assert!(errors.contains("cuIpcOpenMemHandle"), "{moves:?}: {errors}");
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
