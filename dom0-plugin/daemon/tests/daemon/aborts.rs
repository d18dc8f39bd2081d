//! Whatever ends a migration early, the programs go on with their bytes.

use crate::host::{Host, Talk, eventually};
use crate::migration::{restore, saved, stream_of};
use crate::program::{Program, objects};
use serde_json::json;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;

/// A save that has come to `step`, its stream's reader, and the program.
fn begun_save(step: &str) -> (Host, Program, Option<Talk>, PipeReader) {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (reader, writer) = std::io::pipe().unwrap();
    let drained = std::thread::spawn({
        let mut reader = reader.try_clone().unwrap();
        move || drop(reader.read_to_end(&mut Vec::new()))
    });
    let (mut talk, reply) = host.save(writer.as_fd());
    reply.unwrap();
    for op in ["precopy", "stop", "suspended"] {
        if step == "save" {
            break;
        }
        let request = match op {
            "precopy" => json!({"op": op, "iteration": 0, "dirty_pages": -1}),
            "suspended" => json!({"op": op, "ok": true}),
            _ => json!({"op": op}),
        };
        talk.ask(request).unwrap();
        if op == step {
            break;
        }
    }
    drop(writer);
    drop(drained);
    (host, program, Some(talk), reader)
}

#[test]
fn a_helper_that_dies_at_any_step() {
    for step in ["save", "precopy", "stop", "suspended"] {
        let (host, program, talk, _reader) = begun_save(step);
        drop(talk);
        eventually("the program goes on", || program.bytes().is_some());
        assert_eq!(program.bytes(), Some(objects(1, 3)), "{step}");
        eventually("the domain is free", || host.daemon.locks.what(0).is_none());
        eventually("the spool is empty", || {
            host.daemon.images.spool().memory().used() == 0
        });
        host.request("detach").unwrap();
        host.request("attach").unwrap();
        assert_eq!(program.bytes(), Some(objects(1, 3)), "{step}");
    }
}

#[test]
fn a_receiver_that_goes_away() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 6));
    host.expect_sessions(1);
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    drop(reader);
    let error = talk
        .ask(json!({"op": "precopy", "iteration": 0, "dirty_pages": -1}))
        .unwrap_err();
    assert!(error.contains("the receiver has gone"), "{error}");
    assert_eq!(program.bytes(), Some(objects(1, 6)));
    talk.ask(json!({"op": "done", "rc": -1})).unwrap();
    assert_eq!(host.daemon.reports.get(0).unwrap().ok, Some(false));
    assert_eq!(host.daemon.publisher.last_of(0).state.as_str(), "failed");
    host.request("checkpoint").unwrap();
}

#[test]
fn a_receiver_that_goes_away_in_the_stop() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 6));
    host.expect_sessions(1);
    let (reader, writer) = std::io::pipe().unwrap();
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    drop(reader);
    talk.ask(json!({"op": "stop"})).unwrap_err();
    assert_eq!(program.bytes(), Some(objects(1, 6)));
    assert!(host.daemon.images.list(0).is_empty());
}

#[test]
fn a_stream_that_is_full_when_the_helper_dies() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 6));
    host.expect_sessions(1);
    // Nobody reads, and the pipe is smaller than the program's state.
    let (_reader, writer) = std::io::pipe().unwrap();
    let (talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let asking = std::thread::spawn(move || {
        let mut talk = talk;
        let line = json!({"op": "precopy", "iteration": 0, "dirty_pages": -1});
        talk.send(line);
        talk
    });
    drop(asking.join().unwrap());
    eventually("the domain is free", || host.daemon.locks.what(0).is_none());
    assert_eq!(program.bytes(), Some(objects(1, 6)));
}

#[test]
fn a_disk_that_is_full_under_the_stream() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let (mut talk, begun) = host.save(full.as_fd());
    begun.unwrap();
    let error = talk.ask(json!({"op": "stop"})).unwrap_err();
    assert!(error.contains("no space left"), "{error}");
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn sessions_that_do_not_stop_or_lie_or_are_blocked() {
    for trouble in ["stop", "unload", "lie"] {
        let host = Host::new();
        let program = Program::start_with(&host.programs, 1, objects(1, 3), |s| {
            s.refuse_stop = trouble == "stop";
            s.refuse_unload = trouble == "unload";
            s.lie = trouble == "lie";
        });
        let other = Program::start(&host.programs, 2, objects(2, 3));
        host.expect_sessions(2);
        let (reader, writer) = std::io::pipe().unwrap();
        std::thread::spawn(move || drop({ reader }.read_to_end(&mut Vec::new())));
        let (mut talk, begun) = host.save(writer.as_fd());
        begun.unwrap();
        let error = talk.ask(json!({"op": "stop"})).unwrap_err();
        assert!(error.contains("program-1"), "{error}");
        assert_eq!(program.bytes(), Some(objects(1, 3)));
        assert_eq!(other.bytes(), Some(objects(2, 3)));
        talk.ask(json!({"op": "done", "rc": -1})).unwrap();
    }
    let host = Host::new();
    Program::start_with(&host.programs, 1, objects(1, 3), |s| {
        s.blocked = Some("GL sharing".into());
    });
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (talk, refused) = host.save(writer.as_fd());
    assert!(refused.unwrap_err().contains("GL sharing"));
    drop((talk, writer));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes.is_empty(), "refused before anything is written");
}

#[test]
fn corrupted_streams_leave_nothing_behind() {
    let (_source, _programs, stream, _talk) = saved();
    // HEAD is 8 + 32 + 2 * 24 bytes; behind it stands DATA.
    for (at, what) in [
        (9, "magic"),
        (300, "checksum"),
        (stream.len() - 40, "differs"),
    ] {
        let destination = Host::new();
        let mut bad = stream.clone();
        bad[at] ^= 0x40;
        let Err(error) = restore(&destination, stream_of(bad)) else {
            panic!("byte {at} was changed and nobody noticed");
        };
        assert!(error.contains(what), "{at}: {error}");
        eventually("nothing stays", || {
            destination.daemon.images.spool().memory().used() == 0
        });
        assert!(destination.daemon.images.list(0).is_empty());
    }
    let destination = Host::new();
    let half = stream[..stream.len() / 2].to_vec();
    assert!(restore(&destination, stream_of(half)).is_err());
    eventually("nothing stays", || {
        destination.daemon.images.spool().memory().used() == 0
    });
}

#[test]
fn a_destination_without_room_refuses() {
    let (_source, _programs, stream, _talk) = saved();
    let destination = Host::with(|_, spool| spool.guest_bytes = 100_000);
    let Err(error) = restore(&destination, stream_of(stream)) else {
        panic!("there was no room");
    };
    assert!(error.contains("quota"), "{error}");
}
