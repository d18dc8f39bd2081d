//! Every function of the driver that a move calls fails, at its first call and at the last, each in a run of its own.

use std::collections::BTreeMap;

use crate::Case;
use crate::log::Line;
use crate::rig::User;

/// Two moves, with memory, at the same places each time.
const RATE: &str = "calls=7";

/// The numbers of the calls, by function, that the mover made.
fn calls_of_the_mover(calls: &[Line]) -> BTreeMap<String, Vec<u64>> {
    let mut all = BTreeMap::<&str, u64>::new();
    let mut ours = BTreeMap::<String, Vec<u64>>::new();
    for line in calls {
        let number = all.entry(&line.function).or_default();
        *number += 1;
        if line.is_movers {
            ours.entry(line.function.clone()).or_default().push(*number);
        }
    }
    ours
}

/// Of each function's calls the first and the last. Where another run has made more or fewer, as it has looked at
/// events more or less often, a last one need not come.
fn some(numbers: &[u64], others: &[u64]) -> Vec<u64> {
    let last = numbers.len() - 1;
    let mut places = vec![0];
    if numbers == others && last > 0 {
        places.push(last);
    }
    places.into_iter().map(|place| numbers[place]).collect()
}

/// What is wrong where that call answers `CUDA_ERROR_OUT_OF_MEMORY`.
///
/// A later call need not come: how often events are looked at is a matter of time.
fn fails_once(case: &Case, function: &str, number: u64, is_first: bool) -> Result<(), String> {
    let options = format!("fail={function}:{number}:OUT_OF_MEMORY");
    let went = std::panic::catch_unwind(|| case.moved(RATE, &options));
    let done = went.map_err(|why| match why.downcast::<String>() {
        Ok(why) => *why,
        Err(_) => options.clone(),
    })?;
    if done.answers(function, 2) == 0 {
        if !is_first {
            return Ok(());
        }
        return Err(format!("{options}: no such call: {}", done.said()));
    }
    if done.moves.moves == 0 {
        return Err(format!("{options}: never moved: {}", done.said()));
    }
    Ok(())
}

/// Has the `part`-th of two halves of the calls fail, so that two tests share the work.
fn each_fails_once(part: usize) {
    let case = Case::new(User {
        arguments: &["1", "2"],
        ..User::new("idle")
    });
    let [ours, others] = [(); 2].map(|()| {
        let done = case.moved(RATE, "");
        let moves = done.moves;
        assert!(moves.moves > 1 && moves.failed == 0, "{}", done.said());
        calls_of_the_mover(&done.calls)
    });
    for needed in [
        "cuMemUnmap",
        "cuMemCreate",
        "cuMemMap",
        "cuCheckpointProcessCheckpoint",
        "cuCtxSynchronize",
        "cuLaunchKernel",
    ] {
        assert!(ours.contains_key(needed), "{needed}: {ours:?}");
    }
    // A pop that fails leaves a context current on a thread: no driver does that.
    let is_tried = |function: &String| !function.starts_with("cuCtxPopCurrent");
    let both = ours.iter().filter(|(function, _)| is_tried(function));
    let both =
        both.filter_map(|(function, numbers)| Some((function, numbers, others.get(function)?)));
    let places = both.flat_map(|(function, numbers, others)| {
        let some = some(numbers, others).into_iter();
        some.map(move |number| (function, number, number == numbers[0]))
    });
    let wrong: Vec<String> = places
        .skip(part)
        .step_by(2)
        .filter_map(|(function, number, first)| fails_once(&case, function, number, first).err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

#[test]
fn every_call_of_a_move_fails_once() {
    each_fails_once(0);
}

#[test]
fn every_other_call_of_a_move_fails_once() {
    each_fails_once(1);
}
