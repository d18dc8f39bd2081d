//! Every function of the driver that a move calls fails, in every phase, once.

use std::collections::BTreeMap;
use std::fs;

use crate::Case;
use crate::rig::User;

/// The numbers of the calls, by function, that the mover made: those of other threads than the first.
fn calls_of_the_mover(log: &str) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::<&str, u64>::new();
    let mut ours = BTreeMap::<String, Vec<u64>>::new();
    for line in log.lines() {
        let mut fields = line.split('\t');
        let [process, thread, function] =
            [(); 3].map(|()| fields.next().expect("process, thread, function"));
        let number = all.entry(function).or_default();
        *number += 1;
        if process != thread {
            ours.entry(function.to_owned()).or_default().push(*number);
        }
    }
    ours
}

/// Of each function's calls: the first ones, one in the middle, the last.
fn some(numbers: &[u64]) -> Vec<u64> {
    let last = numbers.len() - 1;
    let mut places = vec![0, 1, last / 2, last];
    places.retain(|place| *place <= last);
    places.sort_unstable();
    places.dedup();
    places.into_iter().map(|place| numbers[place]).collect()
}

/// Moves at calls of the program, so that they come at the same places each time.
#[test]
fn every_call_of_a_move_fails_once() {
    let case = Case::new(User {
        arguments: &["1", "4"],
        ..User::new("idle")
    });
    let rate = "calls=5";
    let log = case.scratch.path().join("log");
    let logged = format!("log={}", log.display());
    let (moves, errors) = case.moved(rate, &logged);
    assert!(moves.moves > 1 && moves.failed == 0, "{moves:?}: {errors}");
    let ours = calls_of_the_mover(&fs::read_to_string(&log).unwrap());
    for needed in [
        "cuMemAddressReserve",
        "cuMemMap",
        "cuCheckpointProcessCheckpoint",
        "cuCtxSynchronize",
        "cuLaunchKernel",
    ] {
        assert!(ours.contains_key(needed), "{needed}: {ours:?}");
    }
    let mut wrong = Vec::new();
    for (function, numbers) in &ours {
        // A pop that fails leaves a context current on a thread: no driver does that.
        if function.starts_with("cuCtxPopCurrent") {
            continue;
        }
        for number in some(numbers) {
            let options = format!("fail={function}:{number}:OUT_OF_MEMORY");
            let went = std::panic::catch_unwind(|| case.moved(rate, &options));
            match went {
                Ok((moves, errors)) if moves.moves == 0 => {
                    wrong.push(format!("{options}: never moved: {moves:?}: {errors}"));
                }
                Ok(_) => {}
                Err(why) => wrong.push(why.downcast_ref::<String>().cloned().unwrap_or_default()),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}
