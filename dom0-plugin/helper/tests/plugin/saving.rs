//! The saving side.

use crate::daemon::{Daemon, Manner, Mischief, dead_socket};
use crate::fakes::{Outcome, Xen};
use crate::*;

pub fn with_sessions() -> Manner {
    Manner {
        sessions: 1,
        ..Manner::default()
    }
}

pub fn mischief(at: &'static str, what: Mischief) -> Manner {
    Manner {
        mischief: Some((at, what)),
        ..with_sessions()
    }
}

pub fn save(manner: Manner) -> (Daemon, Outcome, Vec<u8>) {
    let daemon = Daemon::start(manner);
    let (outcome, stream) = Xen::version(17).with_plugin().daemon(&daemon.socket).save();
    (daemon, outcome, stream)
}

#[test]
fn without_session_the_stream_is_stock_s() {
    let xen = Xen::version(17);
    let stock = stock_stream();
    let store = store_without_session();
    let idle = Daemon::start(Manner::default());
    let rude = Daemon::start(Manner {
        mischief: Some(("save", Mischief::Refuse)),
        ..Manner::default()
    });
    let dying = Daemon::start(Manner {
        mischief: Some(("save", Mischief::Die)),
        ..Manner::default()
    });
    let babbling = Daemon::start(Manner {
        mischief: Some(("save", Mischief::Babble)),
        ..Manner::default()
    });
    let dead = dead_socket();
    let (expected, _) = xen.stock().save();
    for socket in [
        &idle.socket,
        &rude.socket,
        &dying.socket,
        &babbling.socket,
        &dead,
    ] {
        let (outcome, stream) = xen.with_plugin().daemon(socket).xenstore(&store).save();
        assert_eq!(stream, stock);
        assert_eq!(
            outcome.without_plugin_lines(),
            expected.without_plugin_lines()
        );
    }
    let (outcome, stream) = xen.with_plugin().xenstore(&store).save();
    outcome.says("complete rc 0");
    assert_eq!(stream, stock);
}

#[test]
fn without_session_a_hanging_daemon_costs_only_time() {
    let hanging = Daemon::start(Manner {
        mischief: Some(("save", Mischief::Hang)),
        ..Manner::default()
    });
    let run = Xen::version(17).with_plugin().daemon(&hanging.socket);
    let (outcome, stream) = run.xenstore(&store_without_session()).save();
    outcome
        .says("xl-gpud has said nothing for 15s")
        .says("complete rc 0");
    assert_eq!(stream, stock_stream());
}

#[test]
fn without_xenstore_and_daemon_the_save_goes_on() {
    let (outcome, stream) = Xen::version(17).with_plugin().save();
    outcome
        .says("complete rc 0")
        .says("log 7 xl-gpu: cannot tell whether domain 5 uses a GPU");
    assert_eq!(stream, stock_stream());
}

#[test]
fn live_save_interleaves_the_records() {
    let (daemon, outcome, stream) = save(with_sessions());
    outcome
        .says("complete rc 0")
        .says("suspend\n")
        .says("qemu logdirty of domain 5: 1");
    let requests = daemon.all_requests();
    assert_eq!(requests[..2], ["save", "precopy"]);
    assert_eq!(
        requests[requests.len() - 4..],
        ["stop", "suspended true", "done 0", "close"]
    );
    let kinds = records(&stream);
    assert_eq!(kinds[..5], [0x10, HEAD, DATA, PAGES, DATA]);
    assert_eq!(kinds[kinds.len() - 4..], [DATA, SEAL, PAGES, END]);
    assert_eq!(without_ours(&stream), stock_stream());
}

#[test]
fn pages_wait_for_the_gpu() {
    let (_, outcome, _) = save(Manner {
        finished_at: 20,
        ..with_sessions()
    });
    outcome
        .says("complete rc 0")
        .says("precopy: 11 rounds, decision 1");
    let (_, outcome, _) = save(with_sessions());
    outcome.says("precopy: 5 rounds, decision 1");
}

#[test]
fn a_gpu_that_never_finishes_does_not_keep_the_guest() {
    let (_, outcome, _) = save(Manner {
        finished_at: u32::MAX,
        ..with_sessions()
    });
    outcome.says("complete rc 0").says("suspend\n");
}

#[test]
fn non_live_save_stops_only() {
    let daemon = Daemon::start(with_sessions());
    let (outcome, stream) = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .save_as("0", "0");
    outcome.says("complete rc 0");
    assert_eq!(
        daemon.all_requests(),
        ["save", "stop", "suspended true", "done 0", "close"]
    );
    assert_eq!(records(&stream), [0x10, HEAD, DATA, SEAL, PAGES, END]);
}

fn with_devices() -> Manner {
    Manner {
        devices: 2,
        finished_at: 2,
        ..with_sessions()
    }
}

#[test]
fn devices_leave_before_log_dirty_is_switched_on() {
    for minor in [15, 17, 22] {
        let daemon = Daemon::start(with_devices());
        let xen = Xen::version(minor);
        let (_, stock) = xen.stock().save();
        let (outcome, stream) = xen.with_plugin().daemon(&daemon.socket).save();
        outcome
            .says("complete rc 0")
            .says("shadow_control domain 5 op 2")
            .says("precopy: 5 rounds, decision 1");
        let mut asked = daemon.all_requests();
        let first = ["save", "precopy", "precopy", "precopy", "stop"];
        assert_eq!(asked.drain(..5).collect::<Vec<_>>(), first);
        // While memory is copied the operator may still call it off.
        asked.retain(|request| request != "precopy");
        assert_eq!(asked, ["suspended true", "done 0", "close"]);
        let kinds = records(&stream);
        assert_eq!(
            kinds[..7],
            [0x10, HEAD, DATA, DATA, DATA, DATA, SEAL],
            "Xen 4.{minor}"
        );
        assert!(kinds[7..].iter().all(|kind| [PAGES, END].contains(kind)));
        assert_eq!(without_ours(&stream), stock);
    }
}

#[test]
fn devices_that_cannot_leave_end_the_migration_before_log_dirty() {
    for at in ["precopy", "stop"] {
        for what in [Mischief::Refuse, Mischief::Die, Mischief::Babble] {
            let daemon = Daemon::start(Manner {
                mischief: Some((at, what)),
                ..with_devices()
            });
            let run = Xen::version(17).with_plugin().daemon(&daemon.socket);
            let (outcome, stream) = run.save();
            outcome
                .says("complete rc -1 (Operation canceled)")
                .says("Failed to enable logdirty")
                .says_not("op 2")
                .says_not("suspend\n");
            assert!(!records(&stream).contains(&PAGES));
            let asked = daemon.all_requests();
            assert_eq!(asked.iter().filter(|r| *r == at).count(), 1, "{asked:?}");
        }
    }
}

#[test]
fn devices_leave_at_the_suspend_of_a_save_that_is_not_live() {
    let daemon = Daemon::start(with_devices());
    let run = Xen::version(17).with_plugin().daemon(&daemon.socket);
    let (outcome, _) = run.save_as("0", "0");
    outcome.says("complete rc 0").says_not("op 2");
    assert_eq!(
        daemon.all_requests(),
        ["save", "stop", "suspended true", "done 0", "close"]
    );
}
