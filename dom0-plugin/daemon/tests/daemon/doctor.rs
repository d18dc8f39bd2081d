//! `xl-gpu doctor`, and the pre-flight that is the same.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use crate::toolstack::{FakeToolstack, WithDevices};
use daemon::passthrough::device::Device;
use daemon::passthrough::toolstack::{Configuration, Link};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;

pub const GPU: &str = "0000:3b:00.0";
const HELPER: &str = "/bin/true";

/// When the daemon is not just looking whether a session is to be served, as it does for a moment whenever one has come or was
/// asked something.
pub fn examine(host: &Host) -> Value {
    let request = json!({"op": "doctor", "domain": "loopback", "save_helper": HELPER});
    let diagnosis = RefCell::new(Value::Null);
    eventually("nothing is being served", || {
        *diagnosis.borrow_mut() = host.ask(request.clone()).unwrap();
        let errors = found(&diagnosis.borrow(), "error");
        !errors
            .iter()
            .any(|e| e.contains("have not all arrived yet"))
    });
    diagnosis.into_inner()
}

/// What of `severity` was found, as it is shown.
pub fn found(diagnosis: &Value, severity: &str) -> Vec<String> {
    let findings = diagnosis["findings"].as_array().unwrap().iter();
    findings
        .filter(|f| f["severity"] == severity)
        .map(|f| {
            let text = |name: &str| f[name].as_str().unwrap();
            let code = text("code");
            format!(
                "{}: {}; {} [{code}]",
                text("subject"),
                text("what"),
                text("remedy")
            )
        })
        .collect()
}

/// The one error, which the pre-flight refuses with too, before the program is touched.
pub fn refused(host: &Host) -> String {
    let diagnosis = examine(host);
    let errors = found(&diagnosis, "error");
    assert_eq!(errors.len(), 1, "{diagnosis:#}");
    assert_eq!(diagnosis["can_migrate"], false);
    let (_reader, writer) = std::io::pipe().unwrap();
    let refusal = host.save(writer.as_fd()).1.unwrap_err();
    assert_eq!(refusal, errors[0]);
    eventually("the domain is free", || host.daemon.locks.what(0).is_none());
    refusal
}

pub fn with_device() -> (Host, FakeToolstack) {
    with_device_and(|_| ())
}

pub fn with_device_and(change: impl FnOnce(&mut daemon::config::Config)) -> (Host, FakeToolstack) {
    let toolstack = FakeToolstack::default();
    toolstack.pci().assigned = vec![Device::at(GPU)];
    (over(&toolstack, change), toolstack)
}

pub fn over(toolstack: &FakeToolstack, change: impl FnOnce(&mut daemon::config::Config)) -> Host {
    let toolstack = toolstack.clone();
    Host::over(
        |programs| {
            Box::new(WithDevices {
                programs,
                toolstack,
            })
        },
        |config, _| change(config),
    )
}

#[test]
fn a_sound_domain_is_left_as_it_was() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    for _ in 0..3 {
        let diagnosis = examine(&host);
        assert_eq!(diagnosis["can_migrate"], true, "{diagnosis:#}");
        assert_eq!(diagnosis["sessions"], 1);
        assert_eq!(found(&diagnosis, "error").len(), 0);
    }
    assert_eq!(program.bytes(), Some(objects(1, 3)));
    assert_eq!(host.daemon.images.list(0).len(), 0);
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_domain_without_a_session_is_nobody_s_business() {
    let host = Host::new();
    let diagnosis = examine(&host);
    assert_eq!(diagnosis["can_migrate"], true);
    assert_eq!(found(&diagnosis, "note").len(), 1, "{diagnosis:#}");
    let unknown = host.ask(json!({"op": "doctor", "domain": "web", "save_helper": null}));
    assert!(unknown.unwrap_err().contains("no domain `web`"));
}

#[test]
fn every_blocked_session_is_named_and_the_first_refuses() {
    let host = Host::new();
    for (seed, reason) in [(1, "fine-grained SVM"), (2, "a shared texture")] {
        Program::start_with(&host.programs, seed, objects(1, 1), |s| {
            s.blocked = Some(reason.into());
        });
    }
    host.expect_sessions(2);
    let errors = found(&examine(&host), "error");
    assert!(errors[0].contains("program-1, pid 1") && errors[0].contains("fine-grained SVM"));
    assert!(errors[1].contains("program-2, pid 2") && errors[1].contains("a shared texture"));
    let (_reader, writer) = std::io::pipe().unwrap();
    let refusal = host.save(writer.as_fd()).1.unwrap_err();
    assert!(refusal.contains("fine-grained SVM"), "{refusal}");
    assert!(
        refusal.ends_with("(and 1 more: xl-gpu doctor 0)"),
        "{refusal}"
    );
}

#[test]
fn a_spool_that_is_too_small_is_found_before_anything_is_copied() {
    let host = Host::with(|_, spool| spool.guest_bytes = 100_000);
    let program = Program::start(&host.programs, 1, objects(1, 5));
    host.expect_sessions(1);
    let refusal = refused(&host);
    assert!(refusal.contains("spool_guest_quota"), "{refusal}");
    assert_eq!(program.bytes(), Some(objects(1, 5)));

    let host = Host::with(|_, spool| {
        spool.memory_bytes = 1000;
        spool.dir = "/nonexistent".into();
    });
    let _program = Program::start(&host.programs, 1, objects(1, 5));
    host.expect_sessions(1);
    let refusal = refused(&host);
    assert!(refusal.contains("/nonexistent"), "{refusal}");
}

#[test]
fn a_session_that_waits_for_an_image_from_elsewhere() {
    let host = Host::new();
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    host.request("detach").unwrap();
    assert_eq!(examine(&host)["can_migrate"], true, "its image travels");
    let keys = host.daemon.images.keys(0, |_, _| true);
    host.daemon.images.drop_image(0, keys[0]);
    let refusal = refused(&host);
    assert!(refusal.contains("its image is not here"), "{refusal}");
}

#[test]
fn a_domain_that_somebody_works_on_is_not_disturbed() {
    let host = Host::new();
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    let lock = host.daemon.alone(0, "a test", &AtomicBool::new(false));
    let errors = found(&examine(&host), "error");
    assert!(errors[0].contains("busy: a test"), "{errors:?}");
    drop(lock);
}

#[test]
fn a_device_that_can_go_is_no_error() {
    let (host, toolstack) = with_device();
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    let diagnosis = examine(&host);
    assert_eq!(diagnosis["can_migrate"], true, "{diagnosis:#}");
    assert!(found(&diagnosis, "note")[0].contains("pci_attach in xl-gpu.conf there"));
    assert!(toolstack.pci().done.is_empty(), "nothing was detached");
}

#[test]
fn devices_in_the_way() {
    type Change = fn(&FakeToolstack);
    let cases: [(Change, &str); 5] = [
        (|t| t.pci().link = Link::Waiting, "load xen-pcifront"),
        (|t| t.pci().configuration = None, "install Xen's tools"),
        (|t| t.pci().in_dom0.exists = false, "dom0 does not see it"),
        (
            |t| t.pci().in_dom0.driver = Some("nouveau".into()),
            "dom0's driver nouveau has it",
        ),
        (
            |t| {
                t.pci().configuration = Some(Configuration {
                    passthrough: false,
                    devices: 0,
                });
            },
            "add the line passthrough=\"enabled\"",
        ),
    ];
    for (change, part) in cases {
        let (host, toolstack) = with_device();
        let program = Program::start(&host.programs, 1, objects(1, 1));
        host.expect_sessions(1);
        change(&toolstack);
        let refusal = refused(&host);
        assert!(refusal.contains(part), "{refusal}");
        assert!(toolstack.pci().done.is_empty(), "nothing was detached");
        assert_eq!(program.bytes(), Some(objects(1, 1)));
    }
}

#[test]
fn devices_that_the_settings_speak_of() {
    let (host, _) = with_device_and(|config| config.pci_detach = false);
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    let refusal = refused(&host);
    assert!(refusal.contains("pci_detach is false"), "{refusal}");

    let (host, toolstack) = with_device_and(|config| {
        config.pci_attach = BTreeMap::from([("loopback".to_owned(), vec![GPU.to_owned()])]);
        config.pci_before_detach = vec!["/nonexistent/hook".into()];
    });
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    assert!(refused(&host).contains("/nonexistent/hook cannot be run"));
    let mut pci = toolstack.pci();
    pci.assigned.clear();
    pci.configuration = Some(Configuration {
        passthrough: false,
        devices: 0,
    });
    drop(pci);
    let errors = found(&examine(&host), "error");
    let missing = format!("pci_attach of xl-gpu.conf gives it {GPU}");
    assert!(errors.iter().any(|e| e.contains(&missing)), "{errors:?}");
}

#[test]
fn devices_of_a_domain_without_a_session() {
    let (host, _) = with_device();
    let errors = found(&examine(&host), "error");
    assert!(errors[0].contains("without a GPU session"), "{errors:?}");
}

#[test]
fn what_the_toolstack_would_run() {
    let (host, toolstack) = with_device();
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    let of = |helper: Value| {
        host.ask(json!({"op": "doctor", "domain": "0", "save_helper": helper}))
            .unwrap()
    };
    assert!(found(&of(Value::Null), "warning")[0].contains("it is not set here"));
    assert!(found(&of(json!("/nonexistent/helper")), "error")[0].contains("which is not there"));
    toolstack.pci().libxenguest = "/usr/lib/libxenguest.so.4.99".into();
    assert!(found(&examine(&host), "error")[0].contains("not one of 4.14"));
}

#[test]
fn the_save_that_passes_sends_the_device_away_and_brings_it_back() {
    let (host, toolstack) = with_device();
    let program = Program::start(&host.programs, 1, objects(1, 2));
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let drained =
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    let (mut talk, begun) = host.save(writer.as_fd());
    assert_eq!(begun.unwrap()["devices"], 1);
    talk.ask(json!({"op": "stop"})).unwrap();
    assert_eq!(toolstack.pci().done, [format!("detach {GPU}")]);
    assert_eq!(toolstack.pci().away(), [Device::at(GPU)]);
    // The helper dies: the domain runs on here.
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    assert_eq!(toolstack.pci().done[1], format!("attach {GPU}"));
    eventually("its record is gone", || toolstack.pci().record.is_empty());
    drop(writer);
    drained.join().unwrap();
}

#[test]
fn a_device_that_a_program_still_holds_stays() {
    let (host, toolstack) = with_device();
    let program = Program::start_with(&host.programs, 1, objects(1, 2), |s| s.keeps_nodes = 2);
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let drained =
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let refusal = talk.ask(json!({"op": "stop"})).unwrap_err();
    assert!(refusal.contains("2 GPU device nodes open"), "{refusal}");
    assert_eq!(toolstack.pci().done, [""; 0], "nothing was detached");
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    drop(writer);
    drained.join().unwrap();
}

#[test]
fn other_holders_of_the_gpu() {
    let (host, toolstack) = with_device();
    let _program = Program::start_with(&host.programs, 1, objects(1, 1), |s| {
        s.others.holders = vec!["python3 (pid 812) holds /dev/nvidia0".into()];
        s.others.unseen = 3;
    });
    host.expect_sessions(1);
    let refusal = refused(&host);
    assert!(
        refusal.contains("python3 (pid 812) holds /dev/nvidia0"),
        "{refusal}"
    );
    assert!(toolstack.pci().done.is_empty(), "nothing was detached");
    let notes = found(&examine(&host), "note");
    assert!(
        notes.iter().any(|n| n.contains("3 other processes")),
        "{notes:?}"
    );
    // Without a device that has to leave it stands in nobody's way.
    toolstack.pci().assigned.clear();
    let diagnosis = examine(&host);
    assert_eq!(diagnosis["can_migrate"], true, "{diagnosis:#}");
    let warnings = found(&diagnosis, "warning");
    assert!(
        warnings.iter().any(|w| w.contains("nothing of it moves")),
        "{warnings:?}"
    );
}
