//! The restoring side.

use crate::daemon::{Daemon, Manner, Mischief, body};
use crate::fakes::Xen;
use crate::*;

/// A stream with GPU records, and the bodies of those.
fn gpu_stream() -> Vec<u8> {
    let daemon = Daemon::start(Manner {
        sessions: 1,
        ..Manner::default()
    });
    let (outcome, stream) = Xen::version(17).with_plugin().daemon(&daemon.socket).save();
    outcome.says("complete rc 0");
    stream
}

#[test]
fn the_records_are_taken_out() {
    let stream = gpu_stream();
    let rounds = records(&stream).iter().filter(|&&k| k == DATA).count() as u32;
    let daemon = Daemon::start(Manner::default());
    let outcome = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .restore(&stream);
    outcome.says("complete rc 0").says_not("optional record");
    let mut expected = vec![b"head of the image".to_vec()];
    expected.extend((1..=rounds).map(body));
    expected.push(b"the end".to_vec());
    assert_eq!(daemon.bodies(), expected);
    let stock = Xen::version(17).stock().restore(&stock_stream());
    assert_eq!(outcome.without_plugin_lines(), stock.without_plugin_lines());
    let requests = daemon.all_requests();
    assert_eq!(
        (requests[0].as_str(), requests[requests.len() - 2].as_str()),
        ("restore", "done 0")
    );
}

#[test]
fn without_records_the_daemon_is_not_asked() {
    let daemon = Daemon::start(Manner::default());
    let outcome = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .restore(&stock_stream());
    let stock = Xen::version(17).stock().restore(&stock_stream());
    assert_eq!(outcome.text, stock.text);
    assert!(daemon.requests().is_empty());
}

#[test]
fn what_follows_end_is_left_for_libxl() {
    let daemon = Daemon::start(Manner::default());
    let mut stream = gpu_stream();
    // Even what looks like a record of ours.
    stream.extend([HEAD.to_le_bytes(), 8u32.to_le_bytes()].concat());
    stream.extend([0; 8]);
    let outcome = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .restore(&stream);
    outcome.says("complete rc 0").says("after END: 16 bytes");
}

#[test]
fn without_plugin_the_head_is_refused() {
    Xen::version(17)
        .stock()
        .restore(&gpu_stream())
        .says("Mandatory record 0x47505500 not handled");
}

#[test]
fn without_daemon_the_restore_fails() {
    let outcome = Xen::version(17).with_plugin().restore(&gpu_stream());
    outcome
        .says("complete rc -1")
        .says("log 8 xl-gpu: domain 7: the stream carries GPU state that cannot be taken");
    outcome.says("xl-gpud is not there");
}

#[test]
fn a_daemon_in_trouble_fails_the_restore() {
    let stream = gpu_stream();
    for at in ["restore", "records", "done"] {
        for what in [Mischief::Refuse, Mischief::Die, Mischief::Babble] {
            let daemon = Daemon::start(Manner {
                mischief: Some((at, what)),
                ..Manner::default()
            });
            let outcome = Xen::version(17)
                .with_plugin()
                .daemon(&daemon.socket)
                .restore(&stream);
            outcome
                .says("complete rc -1")
                .says("log 8 xl-gpu: domain 7");
        }
    }
}

#[test]
fn an_unsealed_image_fails_the_restore() {
    let stream = gpu_stream();
    let seal = SEAL.to_le_bytes();
    let at = stream.windows(4).position(|w| w == seal).unwrap();
    let mut unsealed = stream[..at].to_vec();
    unsealed.extend_from_slice(&stream[at + 16..]); // header, and 7 bytes padded to 8
    let daemon = Daemon::start(Manner::default());
    let outcome = Xen::version(17)
        .with_plugin()
        .daemon(&daemon.socket)
        .restore(&unsealed);
    outcome.says("complete rc -1").says("END without a seal");
}

#[test]
fn a_torn_stream_fails_the_restore() {
    let stream = gpu_stream();
    let daemon = Daemon::start(Manner::default());
    for length in [30, 45, 60, 100, stream.len() / 2, stream.len() - 4] {
        let outcome = Xen::version(17)
            .with_plugin()
            .daemon(&daemon.socket)
            .restore(&stream[..length]);
        outcome.says("complete rc -1");
    }
}

#[test]
fn other_optional_records_pass() {
    let mut stream = stock_stream();
    let unknown = [0x8000_1234u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
    stream.splice(48..48, unknown.into_iter().chain([7; 8]));
    let outcome = Xen::version(17).with_plugin().restore(&stream);
    outcome
        .says("complete rc 0")
        .says("Ignoring optional record 0x80001234");
}

#[test]
fn a_library_that_reads_otherwise_is_left_alone() {
    let xen = Xen::with_odd_reads();
    let outcome = xen.with_plugin().restore(&stock_stream());
    assert_eq!(outcome.text, xen.stock().restore(&stock_stream()).text);
    outcome.says("complete rc 0");
    // The image is not lost silently: the mandatory record stops it.
    xen.with_plugin()
        .restore(&gpu_stream())
        .says("Mandatory record 0x47505500 not handled")
        .says("complete rc -1");
}

#[test]
fn checkpointed_streams_are_left_alone() {
    let outcome = Xen::version(17)
        .with_plugin()
        .restore_as(&gpu_stream(), "1");
    outcome
        .says("Mandatory record 0x47505500 not handled")
        .says_not("xl-gpu:");
}
