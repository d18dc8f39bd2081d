//! Devices come back wherever an earlier attempt was broken off.

use crate::departures::recorded;
use crate::doctor::{GPU, examine, found, refused};
use crate::host::{Host, eventually};
use crate::hvm::{bus, done, found_with, guest_with};
use crate::program::{Program, objects};
use crate::toolstack::{FakeToolstack, plug, unplug};
use channel::bus::Bus;
use daemon::passthrough::device::Device;
use daemon::passthrough::kind::GuestKind;
use daemon::passthrough::taken::Removal;
use daemon::passthrough::toolstack::Link;

const OTHER: &str = "0000:3c:00.0";

/// A program whose session sees `bus`.
fn program(host: &Host, bus: Option<Bus>) -> Program {
    let program = Program::start_with(&host.programs, 1, objects(1, 2), |s| s.bus = bus);
    host.expect_sessions(1);
    program
}

fn two() -> Bus {
    let mut bus = bus(0, &[]);
    bus.devices.push(bus.devices[0].clone());
    bus
}

fn is_forgotten(toolstack: &FakeToolstack) {
    eventually("its record is gone", || toolstack.pci().record.is_empty());
}

/// libxl lists a device last: its `xl pci-attach` was killed before.
#[test]
fn a_device_that_only_the_device_model_has_is_unplugged_and_attached() {
    let (host, toolstack) = found_with(
        |pci| {
            pci.take_all();
            plug(pci, &Device::at(GPU));
        },
        |_| (),
    );
    let _program = program(&host, Some(bus(0, &[])));
    is_forgotten(&toolstack);
    assert_eq!(
        toolstack.pci().done,
        [format!("unplug {GPU}"), format!("attach {GPU}")]
    );
    assert_eq!(toolstack.pci().assigned, [Device::at(GPU)]);
}

#[test]
fn a_device_that_only_the_device_model_has_refuses() {
    let (host, toolstack, _program) = guest_with(Some(two()), |_| ());
    assert_eq!(examine(&host)["can_migrate"], true);
    plug(&mut toolstack.pci(), &Device::at(OTHER));
    assert!(refused(&host).contains("has pci-pt-3c_00.0, and libxl does not list it"));
}

/// The guest was slow to use it: that it has come is on record all the same.
#[test]
fn a_device_that_was_attached_is_not_leaving_any_more() {
    let (host, toolstack, program) = guest_with(Some(bus(0, &[])), |_| ());
    host.request("detach").unwrap();
    let mut pci = toolstack.pci();
    pci.record = vec![recorded(Removal::Pending)];
    unplug(&mut pci, &Device::at(GPU));
    drop(pci);
    program.state().bus = Some(Bus::default());
    let error = host.request("attach").unwrap_err();
    assert!(error.contains("does not see PCI device"), "{error}");
    assert_eq!(toolstack.pci().record, [recorded(Removal::Done)]);
    program.state().bus = Some(bus(0, &[]));
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
    is_forgotten(&toolstack);
    assert!(!host.daemon.devices.is_leaving(0));
}

#[test]
fn a_device_that_somebody_else_detached_does_not_come_back() {
    for (removal, comes_back) in [(Removal::Late, false), (Removal::Pending, true)] {
        let (host, toolstack) = found_with(
            |pci| {
                pci.take_all();
                pci.record = vec![recorded(removal)];
            },
            |_| (),
        );
        let _program = program(&host, Some(bus(0, &[])));
        is_forgotten(&toolstack);
        assert_eq!(done(&toolstack, "attach") == 1, comes_back, "{removal:?}");
    }
}

/// Where xl is in the middle of a detach, libxl lists what the device model has given up.
#[test]
fn what_somebody_s_xl_is_at_is_left_alone() {
    let (host, toolstack) = found_with(
        |pci| {
            pci.record = vec![recorded(Removal::Pending)];
            pci.emulated = Some(Vec::new());
            pci.is_at_work = true;
        },
        |_| (),
    );
    let _program = program(&host, Some(bus(0, &[])));
    let error = host.daemon.devices.bring_back(0, None).unwrap_err();
    assert!(error.to_string().contains("xl has been at work"), "{error}");
    assert!(toolstack.pci().done.is_empty());
    toolstack.pci().is_at_work = false;
    is_forgotten(&toolstack);
    assert_eq!(
        toolstack.pci().done,
        [format!("drop {GPU}"), format!("attach {GPU}")]
    );
}

#[test]
fn a_paravirtual_guest_s_device_that_left_late_comes_back() {
    let (host, toolstack) = found_with(
        |pci| {
            pci.kind = GuestKind::Pv;
            pci.emulated = Some(Vec::new());
            pci.record = vec![recorded(Removal::Pending)];
            pci.has_let_go = true;
        },
        |_| (),
    );
    let _program = program(&host, None);
    is_forgotten(&toolstack);
    assert_eq!(
        toolstack.pci().done,
        [format!("drop {GPU}"), format!("attach {GPU}")]
    );
}

#[test]
fn a_paravirtual_guest_that_does_not_take_its_device_keeps_its_image() {
    let (host, toolstack, program) = guest_with(None, |_| ());
    host.request("detach").unwrap();
    let mut pci = toolstack.pci();
    (pci.kind, pci.link, pci.is_deaf) = (GuestKind::Pv, Link::Waiting, true);
    drop(pci);
    let error = host.request("attach").unwrap_err();
    for part in [
        "not taken its PCI devices within",
        "load xen-pcifront",
        "images are kept",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(program.bytes(), None);
    toolstack.pci().link = Link::Connected;
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
}

/// Of two that the configuration gives the domain, one cannot be attached yet.
#[test]
fn what_the_policy_gives_comes_whole() {
    let (host, toolstack, program) = guest_with(Some(bus(0, &[])), |config| {
        let devices = vec![GPU.to_owned(), OTHER.to_owned()];
        config.pci_attach = [("loopback".to_owned(), devices)].into();
    });
    host.request("detach").unwrap();
    let mut pci = toolstack.pci();
    pci.take_all();
    pci.record.clear();
    (pci.attach_fails, pci.fails_for) = (Some("no reset".into()), Some(Device::at(OTHER)));
    drop(pci);
    program.state().bus = Some(two());
    for _ in 0..2 {
        let error = host.request("attach").unwrap_err();
        assert!(
            error.contains(OTHER) && error.contains("no reset"),
            "{error}"
        );
        assert_eq!(program.bytes(), None, "served with one of two");
    }
    toolstack.pci().attach_fails = None;
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
    assert_eq!(toolstack.pci().assigned.len(), 2);
    is_forgotten(&toolstack);
}

#[test]
fn a_device_that_is_lost_keeps_no_other_away() {
    let (host, toolstack, program) = guest_with(Some(two()), |_| ());
    host.request("detach").unwrap();
    let mut pci = toolstack.pci();
    pci.assigned.push(Device::at(OTHER));
    pci.take_all();
    (pci.attach_fails, pci.fails_for) = (Some("it is dead".into()), Some(Device::at(GPU)));
    drop(pci);
    let error = host.request("attach").unwrap_err();
    assert!(
        error.contains(GPU) && error.contains("it is dead"),
        "{error}"
    );
    assert_eq!(toolstack.pci().assigned, [Device::at(OTHER)]);
    assert_eq!(program.bytes(), None);
}

/// It would stay behind, and nobody would know there which it was.
#[test]
fn a_domain_does_not_move_away_from_a_device_that_is_away() {
    let (host, toolstack, _program) = guest_with(Some(bus(0, &[])), |_| ());
    toolstack.pci().take_all();
    let refusal = refused(&host);
    assert!(refusal.contains("is not back yet"), "{refusal}");
    assert!(refusal.contains("xenstore-rm /local/domain/0/control/gpu-migration/pci"));
    toolstack.pci().record.clear();
    assert_eq!(found(&examine(&host), "error"), [""; 0]);
}
