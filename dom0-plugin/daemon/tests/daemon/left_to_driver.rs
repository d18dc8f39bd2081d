//! What programs leave to their driver's own checkpoint is shown, and expected of the stop.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use channel::link::LeftToDriver;
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::AsFd;

const GIB: u64 = 1 << 30;

fn left(contexts: u64, gib: u64) -> LeftToDriver {
    LeftToDriver {
        contexts,
        bytes: gib * GIB,
        pinned: 0,
    }
}

fn with(left: LeftToDriver) -> (Host, Program) {
    let host = Host::new();
    let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.left = left);
    host.expect_sessions(1);
    (host, program)
}

fn shown(host: &Host) -> Value {
    let status = host.ask(json!({"op": "status"})).unwrap();
    status["domains"][0]["sessions"][0]["left_to_driver"].clone()
}

fn rehearsed(host: &Host) -> Value {
    host.ask(json!({"op": "migrate-loopback", "domid": 0}))
        .unwrap()
}

#[test]
fn it_is_told_before_anybody_asks() {
    let (host, program) = with(left(1, 12));
    assert_eq!(shown(&host), json!(left(1, 12)));
    let doctor = json!({"op": "doctor", "domain": "loopback", "save_helper": null});
    let diagnosis = host.ask(doctor).unwrap();
    let note = &diagnosis["findings"][0];
    assert_eq!(note["severity"], "note", "{diagnosis:#}");
    let what = note["what"].as_str().unwrap();
    assert!(
        what.starts_with("left to the driver: 12.0 GiB: about "),
        "{what}"
    );
    assert_eq!(diagnosis["can_migrate"], true);
    // Nobody asks; it looks now and then.
    program.state().left = left(1, 2);
    eventually("the news is told", || shown(&host) == json!(left(1, 2)));
}

#[test]
fn a_prediction_counts_it_until_a_move_has_shown_better() {
    let (host, _program) = with(left(1, 12));
    let report = rehearsed(&host);
    let predicted = &report["precopy"]["predicted"];
    // 1.5 GB/s out, 5 GB/s back, and the context itself.
    let expected = [("unload_s", 8.9), ("arrive_s", 2.84)];
    for (part, seconds) in expected {
        let told = predicted[part].as_f64().unwrap();
        assert!((told - seconds).abs() < 0.1, "{part}: {report:#}");
    }
    assert_eq!(report["sessions"][0]["left_to_driver"], json!(left(1, 12)));
    // It took next to no time: from now on as fast as a guest is believed.
    let predicted = rehearsed(&host)["precopy"]["predicted"]["unload_s"].clone();
    assert!(predicted.as_f64().unwrap() < 3.0, "{predicted}");
}

#[test]
fn what_a_program_takes_meanwhile_counts_from_the_next_round_on() {
    let (host, program) = with(left(1, 0));
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    program.state().left = left(1, 6);
    let round = json!({"op": "precopy", "iteration": 0, "dirty_pages": -1});
    talk.ask(round).unwrap();
    let status = host.ask(json!({"op": "status"})).unwrap();
    let progress = &status["domains"][0]["progress"];
    assert_eq!(progress["left"], 6 * GIB, "{progress}");
    // The image it becomes in the guest's memory has to be sent, too.
    assert!(progress["predicted"].as_u64() > Some(4_000), "{progress}");
    talk.ask(json!({"op": "stop"})).unwrap();
    talk.ask(json!({"op": "done", "rc": -1})).unwrap();
    let report = host.daemon.reports.get(0).unwrap();
    assert_eq!(report.sessions[0].left_to_driver, left(1, 6));
}
