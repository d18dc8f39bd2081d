//! What goes wrong while a domain is saved: the guest goes on, and somebody says why.

use std::os::fd::AsFd;

use crate::daemon::{Daemon, Manner, Mischief, dead_socket};
use crate::fakes::{Xen, finish};
use crate::saving::{mischief, save, with_sessions};
use crate::*;

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
    let upgraded = Daemon::start(mischief("save", Mischief::Upgraded));
    for (socket, reason) in [
        (&dead_socket(), "xl-gpud is not there"),
        (&rude.socket, "the daemon's own reason"),
        (&upgraded.socket, "speaks 1.1, xl-gpud 2.0"),
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
