//! Programs whose kernels wait for each other are stopped together, or not at all.

use crate::host::{Host, eventually};
use crate::program::{Program, State, objects};
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

/// Two programs; `set` is the first one's.
fn two(drain: Duration, set: impl FnOnce(&mut State)) -> (Host, [Program; 2]) {
    let host = Host::with(|config, _| config.timeout_drain = drain);
    let waits = Program::start_with(&host.programs, 1, objects(1, 3), set);
    let held = Program::start(&host.programs, 2, objects(2, 3));
    host.expect_sessions(2);
    (host, [waits, held])
}

fn moved(host: &Host) -> Result<Value, String> {
    host.ask(json!({"op": "migrate-loopback", "domid": 0}))
}

#[test]
fn a_stop_that_not_all_come_through_is_tried_anew() {
    let (host, [waits, held]) = two(Duration::from_secs(10), |s| s.late_stops = 2);
    // It runs for a moment, and has one more object then: its next manifest is longer.
    held.state().when_reopened = Some(Box::new(|program| {
        let mut state = program.state();
        let all = state.objects.as_mut().unwrap();
        all.get_mut(&2).unwrap()[7] ^= 1;
        all.insert(1000, vec![9; 5000]);
        state.dirty.extend([2, 1000]);
    }));
    let report = moved(&host).unwrap();
    assert_eq!(report["stops"], 3, "{report:#}");
    assert_eq!((held.state().reopened, waits.state().reopened), (2, 0));
    assert_eq!(waits.bytes(), Some(objects(1, 3)));
    let mut written = objects(2, 3);
    written.get_mut(&2).unwrap()[7] ^= 1;
    written.insert(1000, vec![9; 5000]);
    assert_eq!(held.bytes(), Some(written));
    // By hand it goes the same way.
    waits.state().late_stops = 1;
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(held.state().reopened, 3);
    eventually("they go on", || waits.bytes() == Some(objects(1, 3)));
}

#[test]
fn a_program_that_comes_between_two_tries_is_not_left_out() {
    let (host, [_waits, held]) = two(Duration::from_secs(10), |s| s.late_stops = 1);
    let programs = host.programs.clone();
    held.state().when_reopened = Some(Box::new(move |_| {
        Program::start(&programs, 3, objects(3, 1));
        std::thread::sleep(Duration::from_millis(200));
    }));
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let error = talk.ask(json!({"op": "stop"})).unwrap_err();
    assert!(
        error.contains("program-3") && error.contains("has come"),
        "{error}"
    );
    assert_eq!(held.state().reopened, 1);
}

#[test]
fn what_never_comes_to_rest_together_is_refused_and_goes_on() {
    let (host, programs) = two(Duration::from_secs(1), |s| s.late_stops = 99);
    let error = moved(&host).unwrap_err();
    for part in [
        "a kernel does not end",
        "were stopped 2 times",
        "kernels of one may wait",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(programs[0].state().late_stops, 97);
    for (program, seed) in programs.iter().zip([1, 2]) {
        assert_eq!(program.bytes(), Some(objects(seed, 3)));
        program.state().late_stops = 0;
    }
    moved(&host).unwrap();
}

#[test]
fn others_have_one_try() {
    let drain = Duration::from_secs(1);
    // What is refused for another reason than time.
    let (host, [_, held]) = two(drain, |s| s.refuse_stop = true);
    let error = moved(&host).unwrap_err();
    assert!(!error.contains("times"), "{error}");
    assert_eq!(held.state().reopened, 0);
    // A guest of an earlier version.
    let (host, [_, held]) = two(drain, |s| {
        s.late_stops = 1;
        s.speaks = Some((1, 1));
    });
    moved(&host).unwrap_err();
    assert_eq!(held.state().reopened, 0);
    // One that is alone.
    let host = Host::with(|config, _| config.timeout_drain = drain);
    let alone = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.late_stops = 1);
    host.expect_sessions(1);
    moved(&host).unwrap_err();
    assert_eq!(alone.state().late_stops, 0);
}
