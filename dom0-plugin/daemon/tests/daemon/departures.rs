//! A device leaves when the guest lets go, and comes back whatever happens in between.

use crate::doctor::{GPU, examine, found, refused};
use crate::host::{Folder, Host, Talk, eventually};
use crate::hvm::{bus, done, found_with, guest, guest_with};
use crate::program::{Program, objects};
use crate::toolstack::unplug;
use channel::bus::Bus;
use daemon::passthrough::device::Device;
use daemon::passthrough::kind::GuestKind;
use daemon::passthrough::taken::{Removal, Taken};
use serde_json::json;
use std::os::fd::AsFd;
use std::time::Duration;

/// The device on record.
pub fn recorded(removal: Removal) -> Taken {
    Taken {
        removal,
        ..Device::at(GPU).into()
    }
}

/// A save that comes to the stop; its stream is read by nobody in particular.
fn stopped(host: &Host) -> (Talk, Result<serde_json::Value, String>) {
    stopped_after(host, || ())
}

/// The same, with something that happens after the pre-flight.
fn stopped_after(host: &Host, happens: impl FnOnce()) -> (Talk, Result<serde_json::Value, String>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    happens();
    let stopped = talk.ask(json!({"op": "stop"}));
    (talk, stopped)
}

#[test]
fn a_guest_that_ejects_after_libxl_has_given_up_has_let_go() {
    let (host, toolstack, program) = guest_with(Some(bus(0, &[])), |config| {
        config.pci_timeout = Duration::from_secs(20);
    });
    toolstack.pci().detach_fails = true;
    let late = toolstack.clone();
    let ejecting = std::thread::spawn(move || {
        eventually("libxl has given up", || done(&late, "detach") == 1);
        unplug(&mut late.pci(), &Device::at(GPU));
    });
    let (talk, stopped) = stopped(&host);
    stopped.unwrap();
    ejecting.join().unwrap();
    assert_eq!(done(&toolstack, "drop"), 1, "libxl's list was stale");
    assert!(toolstack.pci().assigned.is_empty());
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(done(&toolstack, "attach"), 1);
}

#[test]
fn a_device_that_stays_is_reported_with_what_the_guest_does() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    toolstack.pci().detach_fails = true;
    let (talk, stopped) = stopped(&host);
    let error = stopped.unwrap_err();
    assert!(error.contains("timed out"), "{error}");
    assert!(
        error.contains("its driver stub there has not given it up"),
        "{error}"
    );
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(done(&toolstack, "attach") + done(&toolstack, "drop"), 0);
}

#[test]
fn a_device_that_has_gone_is_not_reported_as_back() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    toolstack.pci().detach_fails = true;
    let (talk, stopped) = stopped(&host);
    stopped.unwrap_err();
    // Now it goes, and libxl does not notice.
    unplug(&mut toolstack.pci(), &Device::at(GPU));
    program.state().bus = Some(Bus::default());
    let refused = toolstack.clone();
    refused.pci().attach_fails = Some("already assigned".into());
    drop(talk);
    eventually("it was struck off", || done(&toolstack, "drop") == 1);
    eventually("it was tried", || done(&toolstack, "attach") >= 1);
    assert!(program.bytes().is_none(), "served without its device");
    let found = program.clone();
    let mut pci = toolstack.pci();
    pci.attach_fails = None;
    pci.when_woken = Some(Box::new(move || found.state().bus = Some(bus(0, &[]))));
    drop(pci);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(toolstack.pci().assigned, [Device::at(GPU)]);
}

#[test]
fn a_device_that_leaves_long_after_the_detach_comes_back() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    toolstack.pci().detach_fails = true;
    let (talk, stopped) = stopped(&host);
    stopped.unwrap_err();
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    eventually("its record says that it may leave yet", || {
        host.daemon.devices.is_leaving(0) && toolstack.pci().away() == [Device::at(GPU)]
    });
    host.daemon.devices.bring_back(0, None).unwrap();
    let warned = found(&examine(&host), "warning");
    assert!(
        warned.iter().any(|w| w.contains("was to leave")),
        "{warned:?}"
    );
    // Now it does, and libxl does not notice.
    program.state().bus = Some(Bus::default());
    unplug(&mut toolstack.pci(), &Device::at(GPU));
    let mut pci = toolstack.pci();
    let back = program.clone();
    pci.when_woken = Some(Box::new(move || back.state().bus = Some(bus(0, &[]))));
    drop(pci);
    assert!(host.daemon.devices.bring_back(0, None).unwrap());
    assert_eq!(
        (done(&toolstack, "drop"), done(&toolstack, "attach")),
        (1, 1)
    );
    assert_eq!(toolstack.pci().assigned, [Device::at(GPU)]);
    assert!(toolstack.pci().record.is_empty() && !host.daemon.devices.is_leaving(0));
}

#[test]
fn a_device_that_left_without_a_record_is_attached_at_the_next_attempt() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    host.request("detach").unwrap();
    program.state().bus = Some(Bus::default());
    unplug(&mut toolstack.pci(), &Device::at(GPU));
    host.request("attach").unwrap_err();
    assert_eq!(toolstack.pci().away(), [Device::at(GPU)]);
    let back = program.clone();
    toolstack.pci().when_woken = Some(Box::new(move || back.state().bus = Some(bus(0, &[]))));
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
    assert_eq!(
        (done(&toolstack, "drop"), done(&toolstack, "attach")),
        (1, 1)
    );
}

#[test]
fn a_device_model_that_does_not_answer_loses_nobody_a_device() {
    let (host, toolstack, program) = guest(Some(bus(0, &[])));
    let mut pci = toolstack.pci();
    (pci.detach_fails, pci.emulated) = (true, None);
    drop(pci);
    let (talk, stopped) = stopped(&host);
    stopped.unwrap_err();
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(done(&toolstack, "drop"), 0);
}

#[test]
fn a_driver_that_others_use_is_found_before_anything_is_stopped() {
    let busy = [("nvidia", 3), ("nvidia_uvm", 1)];
    let (host, toolstack, program) = guest(Some(bus(0, &busy)));
    let refusal = refused(&host);
    for part in ["nvidia (3 references)", "nvidia-persistenced"] {
        assert!(refusal.contains(part), "{refusal}");
    }
    // Its own files explain them.
    program.state().bus.as_mut().unwrap().own = 4;
    assert_eq!(examine(&host)["can_migrate"], true);
    // Which it has given up by then.
    let (talk, stopped) = stopped(&host);
    let error = stopped.unwrap_err();
    assert!(
        error.contains("something uses their driver: nvidia"),
        "{error}"
    );
    assert!(toolstack.pci().done.is_empty(), "nothing was detached");
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert_eq!(program.bytes(), Some(objects(1, 2)));
}

#[test]
fn a_removal_is_on_record_before_it_begins() {
    let (host, toolstack, _program) = guest(Some(bus(0, &[])));
    let (_talk, stopped) = stopped(&host);
    stopped.unwrap();
    let pci = toolstack.pci();
    assert_eq!(pci.record_at_detach, [recorded(Removal::Pending)]);
    assert_eq!(pci.record, [recorded(Removal::Done)], "its end was seen");
}

/// An earlier attempt's removal is still under way; another device of the domain's could not be attached since.
#[test]
fn a_further_attempt_forgets_nothing_of_an_earlier_one() {
    let other = Device::at("0000:3c:00.0");
    let busy = [("nvidia", 3)];
    let (host, toolstack, program) = guest(Some(bus(0, &busy)));
    program.state().bus.as_mut().unwrap().own = 3;
    let (talk, refused) = stopped_after(&host, || {
        let mut pci = toolstack.pci();
        pci.record = vec![recorded(Removal::Late), other.clone().into()];
        pci.attach_fails = Some("its slot is being reset".into());
    });
    let error = refused.unwrap_err();
    assert!(error.contains("something uses their driver"), "{error}");
    drop(talk);
    eventually("its attach was tried", || done(&toolstack, "attach") > 0);
    let expected = [recorded(Removal::Late), other.into()];
    assert_eq!(toolstack.pci().record, expected);
    let mut both = bus(0, &[]);
    both.devices.push(both.devices[0].clone());
    program.state().bus = Some(both);
    toolstack.pci().attach_fails = None;
    eventually("the program goes on", || program.bytes().is_some());
    eventually("what may leave stays on record", || {
        toolstack.pci().record == [recorded(Removal::Late)]
    });
}

/// The daemon before this one died in the detach, or after it had timed out.
#[test]
fn a_removal_that_a_daemon_before_began_may_still_end() {
    let (host, toolstack) = found_with(|pci| pci.record = vec![recorded(Removal::Pending)], |_| ());
    let program = Program::start_with(&host.programs, 1, objects(1, 2), |s| {
        s.bus = Some(bus(0, &[]));
    });
    host.expect_sessions(1);
    eventually("the guest was found to use it", || {
        toolstack.pci().record == [recorded(Removal::Late)]
    });
    assert!(host.daemon.devices.is_leaving(0));
    program.state().bus = Some(Bus::default());
    unplug(&mut toolstack.pci(), &Device::at(GPU));
    let back = program.clone();
    toolstack.pci().when_woken = Some(Box::new(move || back.state().bus = Some(bus(0, &[]))));
    assert!(host.daemon.devices.bring_back(0, None).unwrap());
    let counts = (done(&toolstack, "drop"), done(&toolstack, "attach"));
    assert_eq!(counts, (1, 1));
    assert!(toolstack.pci().record.is_empty() && !host.daemon.devices.is_leaving(0));
}

/// Nobody waits for it, and nothing is on record.
#[test]
fn a_stale_list_that_a_new_daemon_finds_is_mended() {
    let (host, toolstack) = found_with(|pci| pci.emulated = Some(Vec::new()), |_| ());
    let program = Program::start_with(&host.programs, 1, objects(1, 2), |s| {
        s.bus = Some(Bus::default());
    });
    let (back, given) = (program.clone(), toolstack.clone());
    toolstack.pci().when_woken = Some(Box::new(move || {
        let (back, given) = (back.clone(), given.clone());
        // The toolstack is locked while it wakes the guest.
        std::thread::spawn(move || {
            // The first time there is nothing to be found.
            if !given.pci().emulated.as_ref().unwrap().is_empty() {
                back.state().bus = Some(bus(0, &[]));
            }
        });
    }));
    eventually("it was struck off and attached", || {
        (done(&toolstack, "drop"), done(&toolstack, "attach")) == (1, 1)
    });
    eventually("it is the guest's", || toolstack.pci().record.is_empty());
    assert_eq!(toolstack.pci().assigned, [Device::at(GPU)]);
    assert_eq!(program.bytes(), Some(objects(1, 2)));
}

#[test]
fn where_devices_are_left_alone_a_stale_list_is_too() {
    let (host, toolstack) = found_with(
        |pci| pci.emulated = Some(Vec::new()),
        |config| config.pci_detach = false,
    );
    let _program = Program::start_with(&host.programs, 1, objects(1, 2), |s| {
        s.bus = Some(Bus::default());
    });
    eventually("it was greeted", || done(&toolstack, "pulse") == 1);
    host.daemon.devices.greet(0);
    assert!(toolstack.pci().record.is_empty());
    assert_eq!(toolstack.pci().done, ["pulse"]);
}

/// A guest that has lost the interrupt does not hear of the removal either.
#[test]
fn a_guest_that_did_not_hear_of_the_removal_is_woken() {
    let (host, toolstack, _program) = guest(Some(bus(0, &[])));
    let woken = toolstack.clone();
    let mut pci = toolstack.pci();
    pci.detach_fails = true;
    pci.when_woken = Some(Box::new(move || {
        let woken = woken.clone();
        // The toolstack is locked while it wakes the guest.
        std::thread::spawn(move || unplug(&mut woken.pci(), &Device::at(GPU)));
    }));
    drop(pci);
    let (_talk, stopped) = stopped(&host);
    stopped.unwrap();
    assert_eq!(
        toolstack.pci().done,
        [
            format!("detach {GPU}"),
            "pulse".into(),
            format!("drop {GPU}")
        ]
    );
}

#[test]
fn the_next_arrival_is_another_one() {
    let (host, toolstack, program) = guest(Some(Bus::default()));
    eventually("it was greeted", || done(&toolstack, "pulse") == 1);
    host.request("detach").unwrap();
    host.request("attach").unwrap_err();
    assert_eq!(done(&toolstack, "pulse"), 1);
    // It was detached and comes again.
    toolstack.pci().take_all();
    let back = program.clone();
    toolstack.pci().when_woken = Some(Box::new(move || back.state().bus = Some(bus(0, &[]))));
    eventually("it is served", || {
        let _ = host.request("attach");
        program.bytes().is_some()
    });
    assert_eq!(done(&toolstack, "pulse"), 2);
}

/// What the administrator's command before the detach has stopped, the one after the attach starts again.
#[test]
fn both_commands_run_where_the_device_does_not_leave() {
    let folder = Folder::new();
    let log = folder.0.join("log");
    let command = |word: &str| {
        let script = format!("echo {word} >>{}", log.display());
        vec!["/bin/sh".into(), "-c".into(), script]
    };
    let busy = [("nvidia", 3)];
    let (host, toolstack, program) = guest_with(Some(bus(0, &busy)), |config| {
        config.pci_before_detach = command("before");
        config.pci_after_attach = command("after");
        // Each has as long.
        config.pci_timeout = Duration::from_secs(20);
    });
    let (talk, stopped) = stopped(&host);
    let error = stopped.unwrap_err();
    assert!(error.contains("something uses their driver"), "{error}");
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    eventually("its record is gone", || toolstack.pci().record.is_empty());
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nafter\n");
    assert!(toolstack.pci().done.is_empty(), "nothing was detached");
}

#[test]
fn a_pvh_guest_s_device_is_not_said_to_have_left() {
    let (host, toolstack, program) = guest(None);
    toolstack.pci().kind = GuestKind::Pvh;
    let (talk, stopped) = stopped(&host);
    let error = stopped.unwrap_err();
    assert!(error.contains("PVH guest"), "{error}");
    drop(talk);
    eventually("the program goes on", || program.bytes().is_some());
    assert!(toolstack.pci().done.is_empty());
}
