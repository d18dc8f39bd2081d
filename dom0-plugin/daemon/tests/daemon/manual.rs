//! `checkpoint`, `detach`, `attach`.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use channel::link::Residence;
use serde_json::json;
use std::time::Duration;

#[test]
fn detach_and_attach_there_and_back() {
    let host = Host::new();
    let programs = [(1, 3), (2, 5)]
        .map(|(seed, count)| Program::start(&host.programs, seed, objects(seed.into(), count)));
    host.expect_sessions(2);
    for _ in 0..3 {
        let outcome = host.request("detach").unwrap();
        assert_eq!(outcome["sessions"], 2);
        assert!(programs.iter().all(|p| p.bytes().is_none()));
        let status = host.ask(json!({"op": "status"})).unwrap();
        let domain = &status["domains"][0];
        assert_eq!(domain["state"], "detached");
        assert_eq!(domain["images"].as_array().unwrap().len(), 2);
        assert_eq!(domain["sessions"][0]["state"], "detached");
        assert!(status["spool_memory"]["used"].as_u64().unwrap() > 0);

        let outcome = host.request("attach").unwrap();
        assert_eq!(outcome["sessions"], 2);
        assert_eq!(programs[0].bytes(), Some(objects(1, 3)));
        assert_eq!(programs[1].bytes(), Some(objects(2, 5)));
        let status = host.ask(json!({"op": "status"})).unwrap();
        assert_eq!(
            status["spool_memory"]["used"], 0,
            "images are dropped once served"
        );
    }
}

/// What comes while contents arrive waits for them, and says so when they do not come.
#[test]
fn who_comes_while_contents_arrive_waits() {
    let host = Host::with(|config, _| config.timeout_busy = Duration::from_millis(300));
    let program = Program::start(&host.programs, 1, objects(1, 4));
    host.expect_sessions(1);
    host.request("detach").unwrap();
    program.state().hold_arrival = true;
    std::thread::scope(|scope| {
        let attach = scope.spawn(|| host.request("attach"));
        eventually("the program runs", || program.state().opened == 1);
        let state = || host.daemon.carrier.sessions(0).unwrap().announced[0].state;
        eventually("it says so", || state() == Residence::PostCopy);
        let images = host.daemon.images.list(0);
        assert!(images[0].serving, "the image is kept: {images:?}");
        let error = host.request("checkpoint").unwrap_err();
        assert!(error.contains("have not all arrived yet"), "{error}");
        assert!(!attach.is_finished());
        program.state().hold_arrival = false;
        attach.join().unwrap().unwrap();
    });
    assert_eq!(program.bytes(), Some(objects(1, 4)));
    assert!(host.daemon.images.list(0).is_empty());
    host.request("checkpoint").unwrap();
}

#[test]
fn a_checkpoint_is_kept_and_the_program_goes_on() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    for _ in 0..2 {
        host.request("checkpoint").unwrap();
        assert_eq!(program.bytes(), Some(objects(1, 3)));
        let images = host.daemon.images.list(0);
        assert_eq!(images.len(), 1, "the newest only");
        // Three buffers and the manifest.
        assert_eq!(images[0].objects, 4);
    }
    // A checkpoint is nobody's to be given back by mistake.
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_session_that_refuses_to_stop_leaves_all_running() {
    let host = Host::new();
    let stubborn = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.refuse_stop = true);
    let other = Program::start(&host.programs, 2, objects(2, 3));
    host.expect_sessions(2);
    let error = host.request("detach").unwrap_err();
    assert!(
        error.contains("a kernel does not end") && error.contains("program-1"),
        "{error}"
    );
    assert_eq!(stubborn.bytes(), Some(objects(1, 3)));
    assert_eq!(other.bytes(), Some(objects(2, 3)));
    assert_eq!(host.daemon.publisher.last_of(0).state.as_str(), "failed");
    assert!(host.daemon.images.list(0).is_empty());
    stubborn.state().refuse_stop = false;
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(other.bytes(), Some(objects(2, 3)));
}

#[test]
fn a_driver_that_does_not_go_gives_both_their_state_back() {
    let host = Host::new();
    let stubborn =
        Program::start_with(&host.programs, 1, objects(1, 3), |s| s.refuse_unload = true);
    let other = Program::start(&host.programs, 2, objects(2, 3));
    host.expect_sessions(2);
    let error = host.request("detach").unwrap_err();
    assert!(error.contains("the driver does not go"), "{error}");
    assert_eq!(stubborn.bytes(), Some(objects(1, 3)));
    assert_eq!(
        other.bytes(),
        Some(objects(2, 3)),
        "unloaded, and restored at once"
    );
    assert!(host.daemon.images.list(0).is_empty());
}

#[test]
fn blocked_sessions_and_empty_domains_are_refused_with_advice() {
    let host = Host::new();
    let error = host.request("detach").unwrap_err();
    assert!(error.contains("no GPU session"), "{error}");
    let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| {
        s.blocked = Some("fine-grained SVM\x1b[2J".into());
    });
    host.expect_sessions(1);
    let error = host.request("checkpoint").unwrap_err();
    assert!(error.contains("fine-grained SVM?[2J"), "{error:?}");
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_restore_that_fails_can_be_tried_again() {
    let host = Host::new();
    let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.fail_restores = 1);
    host.expect_sessions(1);
    host.request("detach").unwrap();
    let error = host.request("attach").unwrap_err();
    assert!(error.contains("there is no GPU here"), "{error}");
    assert_eq!(program.bytes(), None);
    assert_eq!(host.daemon.images.list(0).len(), 1, "nothing is lost");
    eventually("it is announced again", || {
        host.daemon.carrier.sessions(0).unwrap().announced[0].generation == 1
    });
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_spool_that_is_full_leaves_the_program_running() {
    let host = Host::with(|_, spool| spool.guest_bytes = 100_000);
    let program = Program::start(&host.programs, 1, objects(1, 5));
    host.expect_sessions(1);
    let error = host.request("detach").unwrap_err();
    assert!(error.contains("quota"), "{error}");
    assert_eq!(program.bytes(), Some(objects(1, 5)));
    let status = host.ask(json!({"op": "status"})).unwrap();
    assert_eq!(status["spool_memory"]["used"], 0);
}

#[test]
fn unknown_requests_change_nothing() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 2));
    host.expect_sessions(1);
    daemon::manual::from_store(&host.daemon, 0, "explode\n");
    let told = host.daemon.publisher.last_of(0);
    assert_eq!(told.state.as_str(), "idle");
    assert!(told.error.contains("`explode?`"), "{}", told.error);
    assert_eq!(program.bytes(), Some(objects(1, 2)));
}
