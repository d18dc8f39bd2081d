//! The saving side.

use std::os::fd::AsFd;

use crate::daemon::{Daemon, Manner, Mischief, dead_socket};
use crate::fakes::{Outcome, Xen, finish};
use crate::*;

fn with_sessions() -> Manner {
    Manner {
        sessions: 1,
        ..Manner::default()
    }
}

fn mischief(at: &'static str, what: Mischief) -> Manner {
    Manner {
        mischief: Some((at, what)),
        ..with_sessions()
    }
}

fn save(manner: Manner) -> (Daemon, Outcome, Vec<u8>) {
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

#[test]
fn a_failed_precopy_leaves_the_guest_running() {
    for what in [Mischief::Refuse, Mischief::Die, Mischief::Babble] {
        let (_, outcome, _) = save(mischief("precopy", what));
        outcome
            .says("complete rc -1")
            .says("log 8 xl-gpu: domain 5: GPU pre-copy failed")
            .says_not("suspend");
    }
}

#[test]
fn a_failed_stop_leaves_the_guest_running() {
    for what in [Mischief::Refuse, Mischief::Die, Mischief::Babble] {
        let (daemon, outcome, stream) = save(mischief("stop", what));
        outcome
            .says("complete rc -1 (Operation canceled)")
            .says("stop-and-copy failed, it runs on");
        outcome
            .says("save callback suspend() failed")
            .says_not("suspend\n");
        assert_eq!(records(&stream)[1], HEAD);
        if what == Mischief::Refuse {
            outcome.says("the daemon's own reason");
            assert_eq!(daemon.all_requests()[7..].last().unwrap(), "close");
            assert!(daemon.requests().contains(&"done -1".to_string()));
        }
    }
}

#[test]
fn a_daemon_that_dies_after_the_seal_is_not_needed_where_all_is_detached() {
    const SESSION: &str = "/local/domain/5/data/gpu-migration/00112233445566778899aabbccddeeff";
    let [protocol, state, channel] =
        ["protocol", "state", "channel"].map(|name| format!("{SESSION}/{name}"));
    let save = |nodes: &[(&str, &str)]| {
        let daemon = Daemon::start(mischief("suspended", Mischief::Die));
        let run = Xen::version(17).with_plugin().daemon(&daemon.socket);
        run.xenstore(&xenstore::serve(nodes)).save()
    };
    let (outcome, stream) = save(&[(&protocol, "1 1"), (&state, "detached")]);
    outcome
        .says("complete rc 0")
        .says("the GPU state is in the stream");
    assert_eq!(*records(&stream).last().unwrap(), END);

    let open = [
        (&*protocol, "1 1"),
        (&*state, "detached"),
        (&*channel, "8 3 1"),
    ];
    for nodes in [&[(&*protocol, "1 1"), (&*state, "attached")][..], &open] {
        let (outcome, _) = save(nodes);
        outcome
            .says("suspend\n")
            .says("complete rc -1")
            .says("the GPU state has not left all programs");
    }
}

#[test]
fn a_program_that_comes_during_a_plain_save_ends_it() {
    let daemon = Daemon::start(Manner::default());
    let run = Xen::version(17).with_plugin().daemon(&daemon.socket);
    let (outcome, _) = run.xenstore(&store_with_session()).save();
    outcome
        .says("complete rc -1 (Operation canceled)")
        .says("programs have begun to use the GPU meanwhile (vadd)")
        .says_not("suspend\n");
}

#[test]
fn a_refusal_after_the_suspend_takes_it_back() {
    let (_, outcome, _) = save(mischief("suspended", Mischief::Refuse));
    outcome
        .says("suspend\n")
        .says("complete rc -1")
        .says("the daemon's own reason");
}

#[test]
fn a_guest_that_does_not_suspend_is_reported() {
    let daemon = Daemon::start(with_sessions());
    let run = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .variable("SUSPEND_FAILS", "1");
    let (outcome, _) = run.save();
    outcome.says("complete rc -1");
    let requests = daemon.all_requests();
    assert_eq!(
        requests[requests.len() - 3..],
        ["suspended false", "done -1", "close"]
    );
}

#[test]
fn with_a_session_and_no_daemon_nothing_is_sent() {
    let store = store_with_session();
    let rude = Daemon::start(mischief("save", Mischief::Refuse));
    for (socket, reason) in [
        (&dead_socket(), "xl-gpud is not there"),
        (&rude.socket, "the daemon's own reason"),
    ] {
        let (outcome, stream) = Xen::version(17)
            .with_plugin()
            .daemon(socket)
            .xenstore(&store)
            .save();
        outcome
            .says("complete rc -1")
            .says("it has GPU sessions (vadd)")
            .says(reason)
            .says_not("suspend");
        assert!(stream.is_empty());
    }
}

#[test]
fn checkpointed_streams_are_refused_with_a_session_only() {
    for stream_type in ["1", "2"] {
        let run = || Xen::version(17).with_plugin();
        let (outcome, stream) = run()
            .xenstore(&store_with_session())
            .save_as("1", stream_type);
        outcome.says("complete rc -1").says("Remus or COLO");
        assert!(stream.is_empty());
        let (outcome, stream) = run()
            .xenstore(&store_without_session())
            .save_as("1", stream_type);
        outcome.says("complete rc 0");
        assert_eq!(stream, stock_stream());
    }
}

#[test]
fn sigterm_ends_the_wait_for_the_daemon() {
    for at in ["precopy", "stop"] {
        let daemon = Daemon::start(mischief(at, Mischief::Hang));
        let (_reader, writer) = std::io::pipe().unwrap();
        let run = Xen::version(17).with_plugin().daemon(&daemon.socket);
        let child = run.start_save("1", "0", writer.as_fd().try_clone_to_owned().unwrap());
        daemon.wait_for(at);
        // SAFETY: the child is ours and has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        finish(child)
            .says("complete rc -1")
            .says("the operation was cancelled")
            .says_not("suspend\n");
        assert_eq!(daemon.all_requests().last().unwrap(), "close");
    }
}

#[test]
fn a_receiver_that_goes_away_does_not_kill_the_helper() {
    let daemon = Daemon::start(mischief("stop", Mischief::Hang));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .start_save("0", "0", writer);
    // libxc's headers are the first to meet the closed pipe.
    finish(child).says("complete rc -1 (Broken pipe)");
    assert_eq!(daemon.all_requests(), ["save", "done -1", "close"]);
}
