//! Whoever is not what he seems.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use channel::image::SessionId;
use channel::layout::Layout;
use channel::link::{Announcement, Link, Rendezvous, Request, Residence, wait_readable};
use channel::loopback::LoopbackRendezvous;
use serde_json::json;

fn announcement(seed: u8) -> Announcement {
    Announcement {
        session: SessionId([seed; 16]),
        protocol: (1, 1),
        pid: 1,
        program: "a\x1b]0;b\x07".into(),
        state: Residence::Attached,
        generation: u64::MAX - 1,
        blocked: None,
        others: Default::default(),
        bus: None,
        left: Default::default(),
    }
}

#[test]
fn a_session_that_never_opens_is_refused_with_advice() {
    let host = Host::with(|config, _| config.timeout_open = std::time::Duration::from_millis(50));
    let mut silent = LoopbackRendezvous::connect(&host.programs).unwrap();
    silent.announce(&announcement(9)).unwrap();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(2);
    let error = host.request("detach").unwrap_err();
    assert!(
        error.contains("does not answer") && error.contains("xl-gpu forget"),
        "{error}"
    );
    assert!(!error.contains('\x1b'), "{error:?}");
    assert_eq!(
        program.bytes(),
        Some(objects(1, 3)),
        "the other one goes on"
    );
    drop(silent);
    host.expect_sessions(1);
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_program_that_ends_in_the_middle_is_noticed() {
    let host = Host::new();
    let mut leaving = LoopbackRendezvous::connect(&host.programs).unwrap();
    leaving.announce(&announcement(9)).unwrap();
    host.expect_sessions(1);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| host.request("detach"));
        while leaving.next().unwrap() != Some(Request::Open) {
            wait_readable(&[leaving.fd()], None).unwrap();
        }
        let link = leaving.share(40).unwrap();
        Layout::format(link.memory(), link.references());
        leaving.publish(&*link).unwrap();
        // The first command is there; no answer will come.
        wait_readable(&[link.fd()], None).unwrap();
        drop((leaving, link));
        let error = asked.join().unwrap().unwrap_err();
        assert!(error.contains("its process has gone"), "{error}");
    });
}

#[test]
fn a_detached_session_without_an_image_gets_nothing() {
    let host = Host::new();
    let mut liar = LoopbackRendezvous::connect(&host.programs).unwrap();
    let detached = Announcement {
        state: Residence::Detached,
        generation: 4,
        ..announcement(9)
    };
    liar.announce(&detached).unwrap();
    host.expect_sessions(1);
    let status = host.ask(json!({"op": "status"})).unwrap();
    let problem = status["domains"][0]["sessions"][0]["problem"]
        .as_str()
        .unwrap();
    assert!(problem.contains("image"), "{problem}");
    assert!(host.request("attach").is_err());
    let (_reader, writer) = std::io::pipe().unwrap();
    let (_talk, refused) = host.save(std::os::fd::AsFd::as_fd(&writer));
    assert!(refused.unwrap_err().contains("nothing could be moved"));
}

#[test]
fn an_image_is_given_to_its_own_session_only() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    host.request("detach").unwrap();
    let mut other = LoopbackRendezvous::connect(&host.programs).unwrap();
    let pretending = Announcement {
        state: Residence::Detached,
        generation: 1,
        ..announcement(2)
    };
    other.announce(&pretending).unwrap();
    host.expect_sessions(2);
    assert!(host.request("attach").unwrap_err().contains("no image"));
    eventually("the true one has it", || program.bytes().is_some());
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn nonsense_on_the_socket_is_refused_and_hurts_nobody() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 2));
    host.expect_sessions(1);
    for request in [
        json!({"op": "explode"}),
        json!({"op": "request", "domid": 0, "request": "explode"}),
        json!({"op": "request", "domid": -1, "request": "detach"}),
        json!({"op": "precopy", "iteration": 0, "dirty_pages": 0}),
        json!({"op": "save", "domid": 0, "live": true}),
        json!({"op": "restore", "domid": 0}),
        json!(17),
    ] {
        assert!(host.ask(request.clone()).is_err(), "{request}");
    }
    eventually("the domain is free", || host.daemon.locks.what(0).is_none());
    assert_eq!(program.bytes(), Some(objects(1, 2)));
}

#[test]
fn a_living_program_cannot_be_forgotten() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 2));
    host.expect_sessions(1);
    host.request("detach").unwrap();
    let forget = json!({"op": "forget", "domid": 0, "session": program.id.to_string()});
    assert!(host.ask(forget).is_err());
    assert_eq!(host.daemon.images.list(0).len(), 1);
    let gone = json!({"op": "forget", "domid": 0, "session": SessionId([8; 16]).to_string()});
    assert_eq!(host.ask(gone).unwrap()["images"], 0);
}
