//! Each call that a move makes fails once.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use crate::child::{Case, told};

/// Which calls of a function fail, of those that a move makes.
const OF_EACH: usize = 2;
/// Cases at a time: they wait most of the time, so that comparing keeps to its share.
const BESIDE: usize = 6;

/// Numbers of the calls by function that the mover's thread makes, as the driver counts them.
fn calls_of_a_move() -> BTreeMap<String, Vec<u64>> {
    let case = Case::new("fault");
    let log = case.path().join("log");
    let case = case.options(format!("log={}", log.display()));
    let output = case.run();
    assert!(output.status.success(), "{}", told(&output));
    let log = fs::read_to_string(log).unwrap();
    let mut lines = log.lines().map(|line| line.split('\t'));
    let mut line = || {
        let mut fields = lines.next()?.skip(1);
        Some((fields.next()?, fields.next()?))
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut calls: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    // The program's thread makes the first call.
    let (program, _) = line().unwrap();
    while let Some((thread, function)) = line() {
        let count = counts.entry(function.to_owned()).or_default();
        *count += 1;
        if thread != program {
            calls.entry(function.to_owned()).or_default().push(*count);
        }
    }
    calls
}

/// The first, the last, and some between.
fn chosen(calls: &[u64]) -> Vec<u64> {
    let last = calls.len() - 1;
    let steps = OF_EACH.min(calls.len());
    let mut chosen: Vec<u64> = (0..steps)
        .map(|step| calls[last * step / (steps - 1).max(1)])
        .collect();
    chosen.dedup();
    chosen
}

pub fn each_call_fails_once() {
    let mut cases = Vec::new();
    for (function, calls) in calls_of_a_move() {
        cases.extend(
            chosen(&calls)
                .into_iter()
                .map(|nth| (function.clone(), nth)),
        );
    }
    assert!(cases.len() > 60, "{cases:?}");
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let Some((function, nth)) = cases.lock().unwrap().pop() else {
                        return;
                    };
                    let fails = format!("fail={function}:{nth}:UNKNOWN");
                    let output = Case::new("fault").options(fails.clone()).run();
                    if !output.status.success() {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{fails}: {}", told(&output)));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
