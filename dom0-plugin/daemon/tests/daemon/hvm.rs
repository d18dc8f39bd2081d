//! An HVM guest's device arrives when the guest has it.

use crate::doctor::{GPU, examine, found, over, refused};
use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use crate::toolstack::{FakeToolstack, ID, Pci};
use channel::bus::{Bus, BusDevice, Module};
use daemon::passthrough::device::Device;
use daemon::passthrough::kind::GuestKind;
use daemon::passthrough::toolstack::Emulated;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The guest's bus with the device on it.
pub fn bus(unplaced: u64, modules: &[(&str, u32)]) -> Bus {
    let module = |(name, references): &(&str, u32)| Module {
        name: (*name).into(),
        references: *references,
    };
    Bus {
        devices: vec![BusDevice {
            vendor: ID.0,
            device: ID.1,
            address: "0000:00:05.0".into(),
            unplaced,
            driver: Some("stub".into()),
            modules: modules.iter().map(module).collect(),
            ..BusDevice::default()
        }],
        ..Bus::default()
    }
}

/// A host with an HVM guest that has the device by libxl's list and QEMU's, and a program whose session sees `bus`.
pub fn guest(bus: Option<Bus>) -> (Host, FakeToolstack, Program) {
    guest_with(bus, |_| ())
}

pub fn guest_with(
    bus: Option<Bus>,
    change: impl FnOnce(&mut daemon::config::Config),
) -> (Host, FakeToolstack, Program) {
    let (host, toolstack) = found_with(|_| (), change);
    let program = Program::start_with(&host.programs, 1, objects(1, 2), |s| s.bus = bus);
    host.expect_sessions(1);
    (host, toolstack, program)
}

/// A host whose daemon finds an HVM guest with the device when it starts, and what `set` changes.
pub fn found_with(
    set: impl FnOnce(&mut Pci),
    change: impl FnOnce(&mut daemon::config::Config),
) -> (Host, FakeToolstack) {
    let toolstack = FakeToolstack::default();
    let mut pci = toolstack.pci();
    pci.kind = GuestKind::Hvm;
    pci.assigned = vec![Device::at(GPU)];
    pci.emulated = Some(vec![Emulated {
        id: Device::at(GPU).emulated_id(),
        is_mapped: true,
    }]);
    set(&mut pci);
    drop(pci);
    let host = over(&toolstack, |config| {
        config.pci_timeout = Duration::from_millis(400);
        change(config);
    });
    (host, toolstack)
}

pub fn done(toolstack: &FakeToolstack, what: &str) -> usize {
    let pci = toolstack.pci();
    pci.done.iter().filter(|d| d.starts_with(what)).count()
}

#[test]
fn a_guest_that_missed_its_device_is_woken_once_and_served_then() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    host.request("detach").unwrap();
    let woken = program.clone();
    toolstack.pci().when_woken = Some(Box::new(move || {
        assert_eq!(woken.state().opened, 0, "served before it had the device");
        woken.state().bus = Some(bus(0, &[]));
    }));
    program.state().bus = Some(Bus::default());
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    assert_eq!(done(&toolstack, "pulse"), 1);
    // It has it now: nothing is to be done for the next.
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(toolstack.pci().done, ["pulse"]);
}

#[test]
fn a_guest_whose_programs_wait_for_nothing_is_woken_too() {
    let (_host, toolstack, program) = guest(Some(Bus::default()));
    eventually("it is woken", || done(&toolstack, "pulse") == 1);
    assert_eq!(program.bytes(), Some(objects(1, 2)), "and nothing else");
    let (_host, toolstack, _program) = guest(None);
    assert_eq!(
        done(&toolstack, "pulse"),
        0,
        "nobody says that it misses one"
    );
}

#[test]
fn a_guest_that_never_finds_its_device_is_not_served() {
    let (host, toolstack, program) = guest(Some(Bus::default()));
    host.request("detach").unwrap();
    let error = host.request("attach").unwrap_err();
    for part in [
        "does not see PCI device 0000:3b:00.0",
        "/sys/bus/pci/rescan",
        "images are kept",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(program.bytes(), None);
    assert_eq!(host.daemon.images.list(0).len(), 1);
    assert!(program.state().rescans.load(Ordering::Relaxed) >= 1);
    // Again and again, and still no second pulse for the same arrival.
    host.request("attach").unwrap_err();
    assert_eq!(done(&toolstack, "pulse"), 1);
    program.state().bus = Some(bus(0, &[]));
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
    assert_eq!(program.bytes(), Some(objects(1, 2)));
}

#[test]
fn a_guest_without_room_for_the_device_keeps_its_image() {
    let (host, _toolstack, program) = guest(Some(bus(4 << 30, &[])));
    assert!(refused(&host).contains("no room for its memory"));
    host.request("detach").unwrap();
    let error = host.request("attach").unwrap_err();
    assert!(error.contains("can't assign"), "{error}");
    assert!(error.contains("images are kept"), "{error}");
    assert_eq!(host.daemon.images.list(0).len(), 1);
    program.state().bus = Some(bus(0, &[]));
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
}

/// Its driver takes seconds for it, and a program that is served before finds no GPU.
#[test]
fn a_guest_whose_driver_takes_the_device_a_while_later_is_served_then() {
    let without_driver = || {
        let mut bus = bus(0, &[]);
        (bus.devices[0].driver, bus.devices[0].was) = (None, Some("stub".into()));
        bus
    };
    let (host, toolstack, program) = guest_with(Some(bus(0, &[])), |config| {
        config.pci_timeout = Duration::from_secs(60);
    });
    host.request("detach").unwrap();
    program.state().bus = Some(without_driver());
    assert_eq!(
        examine(&host)["can_migrate"],
        true,
        "the device is there, and could leave"
    );
    std::thread::scope(|scope| {
        let attach = scope.spawn(|| host.request("attach"));
        let looks = || program.state().looks.load(Ordering::Relaxed);
        let before = looks();
        eventually("it is waited for", || looks() >= before + 3);
        assert_eq!(
            program.state().opened,
            0,
            "served before its driver was there"
        );
        program.state().bus = Some(bus(0, &[]));
        attach.join().unwrap().unwrap();
    });
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    assert_eq!(program.state().rescans.load(Ordering::Relaxed), 0);
    // Longer than that nobody waits.
    let (host, _, program) = guest(Some(bus(0, &[])));
    host.request("detach").unwrap();
    program.state().bus = Some(without_driver());
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    assert!(toolstack.pci().done.is_empty(), "nobody woke it");
}

/// An emulated device of the same kind stands in another slot than libxl's.
#[test]
fn where_the_bus_is_unclear_the_device_model_is_asked() {
    let (host, toolstack, _program) = guest(Some(bus(0, &[])));
    toolstack.pci().assigned[0].vslot = Some(5);
    assert_eq!(examine(&host)["can_migrate"], true);
    toolstack.pci().assigned[0].vslot = Some(6);
    assert_eq!(examine(&host)["can_migrate"], true, "QEMU has it");
    toolstack.pci().emulated = Some(Vec::new());
    assert!(refused(&host).contains("device model does not have it"));
}

#[test]
fn where_no_session_tells_the_device_model_does() {
    let (host, toolstack, program) = guest(None);
    assert_eq!(examine(&host)["can_migrate"], true);
    toolstack.pci().emulated.as_mut().unwrap()[0].is_mapped = false;
    assert!(refused(&host).contains("has not switched PCI device"));
    host.request("detach").unwrap();
    let given = toolstack.clone();
    toolstack.pci().when_woken = Some(Box::new(move || {
        let given = given.clone();
        // The toolstack is locked while it wakes the guest.
        std::thread::spawn(move || given.pci().emulated.as_mut().unwrap()[0].is_mapped = true);
    }));
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 2)));
    assert_eq!(done(&toolstack, "pulse"), 1);
}

#[test]
fn of_other_devices_the_users_do_not_matter() {
    let (host, toolstack, _program) = guest(Some(bus(0, &[("nvme", 3)])));
    toolstack.pci().in_dom0.class = Some(0x01);
    assert_eq!(examine(&host)["can_migrate"], true);
}

#[test]
fn what_is_wrong_with_a_device_is_said_and_the_image_kept() {
    type Change = fn(&FakeToolstack);
    let cases: [(Change, &str); 6] = [
        (|t| t.pci().in_dom0.exists = false, "no such device"),
        (|t| t.pci().in_dom0.is_dead = true, "reads as ones"),
        (|t| t.pci().owner = Some(7), "domain 7 has it"),
        (
            |t| t.pci().in_dom0.driver = Some("nouveau".into()),
            "dom0's driver nouveau has it",
        ),
        (
            |t| t.pci().attach_fails = Some("Backend /x not ready".into()),
            "its backend hangs",
        ),
        (|t| t.pci().in_dom0.resets = false, "dom0 cannot reset it"),
    ];
    for (change, part) in cases {
        let (host, toolstack, program) = guest(Some(bus(0, &[])));
        host.request("detach").unwrap();
        let mut pci = toolstack.pci();
        pci.take_all();
        pci.attach_fails = Some("it failed".into());
        let sound = pci.in_dom0.clone();
        drop(pci);
        change(&toolstack);
        let error = host.request("attach").unwrap_err();
        assert!(
            error.contains("was not attached") && error.contains(part),
            "{error}"
        );
        assert_eq!(host.daemon.images.list(0).len(), 1);
        let mut pci = toolstack.pci();
        (pci.in_dom0, pci.attach_fails, pci.owner) = (sound, None, None);
        drop(pci);
        eventually("it is served", || {
            let _ = host.request("attach");
            program.bytes().is_some()
        });
        assert_eq!(program.bytes(), Some(objects(1, 2)));
    }
}

#[test]
fn a_device_that_the_guest_s_window_cannot_take_is_refused() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    let mut pci = toolstack.pci();
    pci.take_all();
    pci.in_dom0.largest_bar = 256 << 30;
    drop(pci);
    let told = found(&examine(&host), "error");
    assert_eq!(told.len(), 1, "nobody may see the window: {told:?}");
    assert!(told[0].contains("is not back yet"), "{told:?}");
    program.state().bus.as_mut().unwrap().window = Some(192 << 20);
    host.daemon
        .carrier
        .look(0, program.id, false, Duration::from_secs(9))
        .unwrap();
    let errors = found(&examine(&host), "error");
    assert!(
        errors
            .iter()
            .any(|e| e.contains("largest window") && e.contains("pci=[…]")),
        "{errors:?}"
    );
}

#[test]
fn a_dead_device_refuses() {
    let (host, toolstack, _program) = guest(Some(bus(0, &[])));
    toolstack.pci().in_dom0.is_dead = true;
    assert!(refused(&host).contains("configuration space reads as ones"));
}

/// Whoever works on the domain writes requests of his own.
#[test]
fn sessions_that_somebody_works_on_are_not_asked_to_look() {
    let (host, _, program) = guest(Some(bus(0, &[])));
    let looks = || program.state().looks.load(Ordering::Relaxed);
    assert_eq!(examine(&host)["can_migrate"], true);
    let lock = host.daemon.alone(0, "a test", &AtomicBool::new(false));
    let before = looks();
    let errors = found(&examine(&host), "error");
    assert!(errors[0].contains("busy: a test"), "{errors:?}");
    host.daemon.server.look(0);
    assert_eq!(looks(), before);
    drop(lock);
    assert_eq!(examine(&host)["can_migrate"], true);
    assert!(looks() > before);
}
