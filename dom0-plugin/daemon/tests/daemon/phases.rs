//! What may be asked when, and a report whose parts are the whole.

use crate::host::{Host, Talk, eventually};
use crate::program::{Program, objects};
use protocol::blackout::{Blackout, Part};
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

fn refused(talk: &mut Talk, request: &Value, phase: &str) {
    let error = talk.ask(request.clone()).unwrap_err();
    assert!(error.contains("does not belong here"), "{error}");
    assert!(error.ends_with(phase), "{error}");
}

#[test]
fn a_request_that_does_not_fit_the_phase_is_refused_and_changes_nothing() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let suspended = json!({"op": "suspended", "ok": true});
    let round = json!({"op": "precopy", "iteration": 0, "dirty_pages": -1});
    let stop = json!({"op": "stop"});
    refused(&mut talk, &suspended, "in its pre-flight");
    talk.ask(round.clone()).unwrap();
    refused(&mut talk, &suspended, "pre-copying");
    talk.ask(stop.clone()).unwrap();
    refused(&mut talk, &stop, "stopped");
    refused(&mut talk, &json!({"op": "head"}), "stopped");
    // Memory is copied on, and the programs are not.
    assert_eq!(talk.ask(round.clone()).unwrap()["next"], "stop");
    talk.ask(suspended.clone()).unwrap();
    refused(&mut talk, &round, "suspended");
    talk.ask(json!({"op": "done", "rc": 0})).unwrap();
    assert_eq!(host.daemon.reports.get(0).unwrap().ok, Some(true));
    eventually("it never left", || program.bytes() == Some(objects(1, 3)));
}

#[test]
fn after_a_failure_nothing_is_taken_but_the_last_word() {
    let host = Host::new();
    let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.refuse_stop = true);
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let reason = talk.ask(json!({"op": "stop"})).unwrap_err();
    refused(&mut talk, &json!({"op": "stop"}), "aborted");
    talk.ask(json!({"op": "done", "rc": -1})).unwrap();
    let report = host.daemon.reports.get(0).unwrap();
    assert_eq!(report.error, Some(reason));
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn an_abort_is_heard_while_memory_alone_is_copied() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    talk.ask(json!({"op": "stop"})).unwrap();
    host.ask(json!({"op": "steer", "domid": 0, "order": "abort"}))
        .unwrap();
    let pass = json!({"op": "precopy", "iteration": 1, "dirty_pages": 100});
    let error = talk.ask(pass).unwrap_err();
    assert!(error.contains("called off by the operator"), "{error}");
    talk.ask(json!({"op": "done", "rc": -1})).unwrap();
    eventually("it goes on", || program.bytes() == Some(objects(1, 3)));
}

fn sum(blackout: &Blackout) -> Duration {
    let parts = Part::ALL.into_iter().filter_map(|part| blackout.get(part));
    parts.chain(blackout.rest()).sum()
}

#[test]
fn the_parts_of_a_blackout_are_the_whole() {
    let host = Host::new();
    let _programs =
        [1, 2].map(|seed| Program::start(&host.programs, seed, objects(seed.into(), 3)));
    host.expect_sessions(2);
    let report = host
        .ask(json!({"op": "migrate-loopback", "domid": 0}))
        .unwrap();
    let blackout = host.daemon.reports.get(0).unwrap().blackout;
    // The programs' own figure, which is much less than what dom0 measures here.
    assert_eq!(blackout.whole(), Some(Duration::from_micros(30)));
    assert_eq!(sum(&blackout), Duration::from_micros(30));
    for part in Part::ALL {
        let time = &report[part.field()];
        assert!(time.is_null() || time.as_f64() >= Some(0.0), "{report}");
    }
    for known in ["drain_s", "seal_s", "unload_s", "connect_s", "reload_s"] {
        assert!(report[known].is_number(), "{known}: {report}");
    }
}
