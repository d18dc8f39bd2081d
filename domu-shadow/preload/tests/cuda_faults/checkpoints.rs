//! Checkpoints and restores that the driver refuses.

use crate::Case;

/// Without the functions for it no move is tried, and the program goes on.
#[test]
fn a_driver_without_checkpoints() {
    let done = Case::with_memory().moved("calls=20", "no_checkpoint");
    assert_eq!((done.moves.moves, done.moves.failed), (0, 0), "{done:?}");
    assert!(done.moves.blocked > 0, "{}", done.said());
}

/// Each is undone. After one that the driver never gets over none is tried any more.
#[test]
fn checkpoints_that_fail() {
    let case = Case::with_memory();
    for call in ["cuCheckpointProcessLock", "cuCheckpointProcessCheckpoint"] {
        for (name, code) in [("NOT_READY", 600), ("UNKNOWN", 999)] {
            let done = case.moved("calls=20", &format!("fail={call}:*:{name}"));
            let failed = done.answers(call, code) as u64;
            assert!(failed > 0, "{call} {name}: {}", done.said());
            let (moves, said) = (done.moves, done.said());
            assert_eq!((moves.moves, moves.failed), (0, failed), "{name}: {said}");
            let is_last = call.ends_with("Checkpoint") && name == "UNKNOWN";
            assert_eq!(moves.blocked > 0, is_last, "{call} {name}: {said}");
            let why = format!("still held: CUDA's state: the CUDA driver's {call}");
            assert!(said.contains(&why), "{call} {name}: {said}");
        }
    }
}

#[test]
fn a_restore_that_fails_is_tried_again() {
    let case = Case::with_memory();
    for nth in [1, 3] {
        let done = case.moved("calls=20", &format!("restore_fails={nth}"));
        let refused = done.answers("cuCheckpointProcessRestore", 999);
        assert_eq!(refused, 1, "{}", done.said());
        let moves = done.moves;
        assert!(moves.moves > 0 && moves.failed == 1, "{}", done.said());
    }
}
