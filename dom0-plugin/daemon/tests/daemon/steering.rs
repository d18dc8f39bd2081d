//! The operator's orders to a migration under way.

use crate::host::{Host, Talk, eventually};
use crate::program::{Program, objects};
use serde_json::{Value, json};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

fn steer(host: &Host, order: &str) -> Result<Value, String> {
    host.ask(json!({"op": "steer", "domid": 0, "order": order}))
}

fn progress(host: &Host) -> Value {
    let status = host.ask(json!({"op": "status"})).unwrap();
    status["domains"][0]["progress"].clone()
}

/// A save under way, of a program that `set` makes different from others.
fn moving(set: impl FnOnce(&mut crate::program::State)) -> (Host, Program, Talk) {
    let host = Host::new();
    let program = Program::start_with(&host.programs, 1, objects(1, 3), set);
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    (host, program, talk)
}

fn precopy(talk: &mut Talk) -> Result<Value, String> {
    talk.ask(json!({"op": "precopy", "iteration": 0, "dirty_pages": 100}))
}

#[test]
fn held_it_goes_on_with_rounds_until_it_is_released() {
    let (host, program, mut talk) = moving(|_| ());
    steer(&host, "hold").unwrap();
    for round in 0..3 {
        let answer = precopy(&mut talk).unwrap();
        assert_eq!(
            (&answer["round"], &answer["next"]),
            (&json!(round), &json!("hold"))
        );
    }
    let shown = progress(&host);
    assert_eq!(
        (&shown["wish"], &shown["phase"]),
        (&json!("hold"), &json!("between"))
    );
    assert!(program.bytes().is_some(), "it runs");
    steer(&host, "release").unwrap();
    let answer = talk
        .ask(json!({"op": "precopy", "iteration": 0, "dirty_pages": 0}))
        .unwrap();
    assert_eq!(answer["next"], "stop", "rounds had not helped");
    talk.ask(json!({"op": "stop"})).unwrap();
    assert_eq!(
        host.daemon
            .reports
            .get(0)
            .unwrap()
            .precopy
            .unwrap()
            .rounds
            .len(),
        3
    );
}

#[test]
fn forced_it_stops_whatever_is_predicted() {
    let (host, _program, mut talk) = moving(|s| s.busy = Some(3));
    assert_eq!(precopy(&mut talk).unwrap()["next"], "round");
    steer(&host, "force").unwrap();
    let answer = precopy(&mut talk).unwrap();
    assert_eq!(
        (&answer["next"], &answer["round"]),
        (&json!("force"), &json!(0))
    );
    talk.ask(json!({"op": "stop"})).unwrap();
    let report = host.daemon.reports.get(0).unwrap();
    let precopy = serde_json::to_value(report.precopy.unwrap()).unwrap();
    assert_eq!(precopy["ended"], "forced");
    assert!(report.predicted_blackout_s.unwrap() > 0.0);
}

#[test]
fn called_off_between_rounds_or_after_the_stop_the_program_goes_on() {
    for stopped in [false, true] {
        let (host, program, mut talk) = moving(|_| ());
        precopy(&mut talk).unwrap();
        if stopped {
            talk.ask(json!({"op": "stop"})).unwrap();
            assert!(steer(&host, "hold").unwrap_err().contains("too late"));
        }
        steer(&host, "abort").unwrap();
        let error = match stopped {
            true => talk
                .ask(json!({"op": "suspended", "ok": true}))
                .unwrap_err(),
            false => precopy(&mut talk).unwrap_err(),
        };
        assert!(error.contains("called off by the operator"), "{error}");
        eventually("it has its state", || program.bytes().is_some());
        assert_eq!(program.bytes(), Some(objects(1, 3)));
        talk.ask(json!({"op": "done", "rc": -1})).unwrap();
        let report = host.daemon.reports.get(0).unwrap();
        assert!(report.error.unwrap().contains("called off"));
        assert!(steer(&host, "abort").unwrap_err().contains("no migration"));
    }
}

#[test]
fn once_the_domain_is_suspended_it_cannot_be_called_off() {
    let (host, program, mut talk) = moving(|_| ());
    precopy(&mut talk).unwrap();
    talk.ask(json!({"op": "stop"})).unwrap();
    talk.ask(json!({"op": "suspended", "ok": true})).unwrap();
    let error = steer(&host, "abort").unwrap_err();
    assert!(error.contains("too late"), "{error}");
    talk.ask(json!({"op": "done", "rc": 0})).unwrap();
    assert_eq!(host.daemon.reports.get(0).unwrap().ok, Some(true));
    eventually("it is served here, as it never left", || {
        program.bytes().is_some()
    });
}

/// The lock is given back when the domain is suspended, before the migration is over.
#[test]
fn a_migration_that_ends_late_leaves_the_next_one_its_place() {
    let (host, program, mut first) = moving(|_| ());
    first.ask(json!({"op": "stop"})).unwrap();
    first.ask(json!({"op": "suspended", "ok": true})).unwrap();
    eventually("it is back", || program.bytes().is_some());
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut second, begun) = host.save(writer.as_fd());
    begun.unwrap();
    first.ask(json!({"op": "done", "rc": -1})).unwrap();
    steer(&host, "abort").unwrap();
    let error = precopy(&mut second).unwrap_err();
    assert!(error.contains("called off by the operator"), "{error}");
}

#[test]
fn called_off_in_the_middle_of_a_round() {
    // A round that sends nothing for ever, and one whose stream nobody reads.
    for stuck in ["guest", "stream"] {
        let host = Host::new();
        let program = Program::start_with(&host.programs, 1, objects(1, 6), |s| {
            s.stuck = stuck == "guest";
        });
        host.expect_sessions(1);
        let (_reader, writer) = std::io::pipe().unwrap();
        let (mut talk, begun) = host.save(writer.as_fd());
        begun.unwrap();
        std::thread::scope(|scope| {
            let round = scope.spawn(|| precopy(&mut talk));
            eventually("the round is under way", || {
                progress(&host)["phase"] == "round"
            });
            // Time to get stuck, which nothing shows. Called off before, the round must end just the same.
            std::thread::sleep(Duration::from_millis(50));
            steer(&host, "abort").unwrap();
            if stuck == "guest" {
                // The guest's own: it hears dom0 when it next looks.
                program.state().stuck = false;
            }
            let error = round.join().unwrap().unwrap_err();
            assert!(error.contains("called off by the operator"), "{error}");
        });
        assert_eq!(program.bytes(), Some(objects(1, 6)), "{stuck}");
        talk.ask(json!({"op": "done", "rc": -1})).unwrap();
        host.request("detach").unwrap();
        host.request("attach").unwrap();
        assert_eq!(program.bytes(), Some(objects(1, 6)), "{stuck}");
    }
}

#[test]
fn without_a_migration_there_is_nothing_to_steer() {
    let host = Host::new();
    for order in ["hold", "release", "force", "abort"] {
        assert!(
            steer(&host, order)
                .unwrap_err()
                .contains("no migration of domain 0")
        );
    }
}
