//! What comes while somebody has the domain alone is done when they are through.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use crate::toolstack::{FakeToolstack, WithDevices};
use daemon::passthrough::device::Device;
use protocol::status::Purpose;
use serde_json::json;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

static NEVER: AtomicBool = AtomicBool::new(false);

#[test]
fn an_attempt_to_serve_that_falls_into_a_claim_is_made_after_it() {
    let host = Host::new();
    // The first attempt, at the end of the migration, fails, and so does a second one, which may come before the domain is ours.
    // Between the others are one and two seconds.
    let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| s.fail_restores = 2);
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || drop(reader.read_to_end(&mut Vec::new())));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    talk.ask(json!({"op": "stop"})).unwrap();
    drop(talk);
    eventually("it was tried once", || program.state().fail_restores < 2);
    let lock = loop {
        match host.daemon.alone(0, "a test", &NEVER) {
            Ok(lock) => break lock,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    // Longer than both pauses; an attempt that is put off shows nothing.
    std::thread::sleep(Duration::from_millis(4000));
    let waiting = host
        .daemon
        .images
        .keys(0, |_, purpose| purpose == Purpose::Serve);
    assert_eq!(waiting.len(), 1, "nobody serves it meanwhile");
    drop(lock);
    eventually("it has its state", || program.bytes().is_some());
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn devices_that_are_away_stay_so_while_somebody_has_the_domain() {
    let toolstack = FakeToolstack::default();
    toolstack.pci().record = vec![Device::at("0000:3b:00.0").into()];
    let given = toolstack.clone();
    // A daemon that finds them so brings them back soon.
    let host = Host::over(
        |programs| {
            Box::new(WithDevices {
                programs,
                toolstack: given,
            })
        },
        |_, _| (),
    );
    let lock = host.daemon.alone(0, "a test", &NEVER).unwrap();
    // Time to find the device and the lock; a daemon that waits for its end shows nothing.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(toolstack.pci().done, [""; 0]);
    drop(lock);
    eventually("they are back", || {
        toolstack.pci().done == ["attach 0000:3b:00.0"]
    });
}
