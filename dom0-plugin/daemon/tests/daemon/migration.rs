//! The conversations of save and restore over a real socket, records through a real pipe.

use crate::host::{Host, Talk, eventually};
use crate::program::{Objects, Program, announcement, objects};
use channel::image::SessionId;
use channel::link::Rendezvous;
use channel::loopback::LoopbackRendezvous;
use serde_json::{Value, json};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stream::RecordHeader;

/// A record of libxc's, which is nobody's here.
const PAGE_DATA: RecordHeader = RecordHeader {
    record_type: 1,
    length: 16,
};
const END: RecordHeader = RecordHeader {
    record_type: 0,
    length: 0,
};

pub fn header(from: &mut impl Read) -> Value {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes).unwrap();
    let header = RecordHeader::from_bytes(bytes);
    json!({"type": header.record_type, "length": header.length})
}

/// Saves as the plugin does, with records of libxc's between ours. `between` runs while the program does.
pub fn save(host: &Host, mut stream: PipeWriter, between: impl FnOnce()) -> Result<Talk, String> {
    let (mut talk, begun) = host.save(stream.as_fd());
    if begun?["sessions"] == 0 {
        return Ok(talk);
    }
    talk.ask(json!({"op": "precopy", "iteration": 0, "dirty_pages": -1}))?;
    between();
    stream.write_all(&PAGE_DATA.to_bytes()).unwrap();
    stream.write_all(&[7; 16]).unwrap();
    let round = talk.ask(json!({"op": "precopy", "iteration": 1, "dirty_pages": 10}))?;
    assert_eq!(round["round"], 1);
    talk.ask(json!({"op": "stop"}))?;
    stream.write_all(&PAGE_DATA.to_bytes()).unwrap();
    stream.write_all(&[8; 16]).unwrap();
    stream.write_all(&END.to_bytes()).unwrap();
    Ok(talk)
}

/// Restores as the plugin does.
pub fn restore(host: &Host, mut stream: PipeReader) -> Result<Talk, String> {
    let mut talk = None;
    loop {
        let mut next = header(&mut stream);
        if next["type"].as_u64().unwrap() & 0x7fff_ff00 == 0x4750_5500 {
            let talk = match &mut talk {
                Some(talk) => talk,
                None => {
                    let mut first = host.connect();
                    first.ask_with(json!({"op": "restore", "domid": 0}), stream.as_fd())?;
                    talk.insert(first)
                }
            };
            next =
                talk.ask(json!({"op": "records", "type": next["type"], "length": next["length"]}))?;
        }
        if next["type"] == 0 {
            let mut talk = talk.expect("GPU records came");
            talk.ask(json!({"op": "records", "type": 0, "length": 0}))?;
            return Ok(talk);
        }
        let mut body = [0; 16];
        stream.read_exact(&mut body).unwrap();
        assert!(
            body == [7; 16] || body == [8; 16],
            "libxc's bytes are libxc's"
        );
    }
}

fn done(talk: &mut Talk, rc: i32) -> Result<Value, String> {
    talk.ask(json!({"op": "done", "rc": rc}))
}

/// What the programs hold after a write in the middle.
fn written(seed: u64, count: u64) -> Objects {
    let mut objects = objects(seed, count);
    objects.get_mut(&2).unwrap()[77] = 0xEE;
    objects
}

/// Stream of a domain with two programs, and the source's host with its conversation after `stop`.
pub fn saved() -> (Host, Vec<Program>, Vec<u8>, Talk) {
    let source = Host::new();
    let programs = vec![
        Program::start(&source.programs, 1, objects(1, 4)),
        Program::start(&source.programs, 2, objects(2, 3)),
    ];
    source.expect_sessions(2);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let collecting = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let talk = save(&source, writer, || {
        programs.iter().for_each(|p| p.write(2, 77, 0xEE));
    })
    .unwrap();
    (source, programs, collecting.join().unwrap(), talk)
}

/// The bytes as a stream.
pub fn stream_of(bytes: Vec<u8>) -> PipeReader {
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || {
        // A receiver that refuses stops reading.
        let _ = writer.write_all(&bytes);
    });
    reader
}

#[test]
fn a_failed_migration_gives_everything_back_at_the_source() {
    let (source, programs, stream, mut talk) = saved();
    assert!(programs.iter().all(|p| p.bytes().is_none()), "detached");
    // The receiver takes it all, and fails in the end: nothing stays there.
    let destination = Host::new();
    let mut receiving = restore(&destination, stream_of(stream)).unwrap();
    done(&mut receiving, -1).unwrap();
    eventually("the destination forgets", || {
        destination.daemon.images.spool().memory().used() == 0
    });
    // The source is resumed.
    talk.ask(json!({"op": "suspended", "ok": true})).unwrap();
    done(&mut talk, -1).unwrap();
    for (program, (seed, count)) in programs.iter().zip([(1, 4), (2, 3)]) {
        eventually("the program has its state", || program.bytes().is_some());
        assert_eq!(program.bytes(), Some(written(seed, count)));
    }
    eventually("the spool is empty", || {
        source.daemon.images.spool().memory().used() == 0
    });
    let report = source.daemon.reports.get(0).unwrap();
    assert_eq!(report.ok, Some(false));
    assert_eq!(report.gpu_bytes.precopy.len(), 2);
}

#[test]
fn the_destination_has_exactly_what_was_sent() {
    let (source, _programs, stream, mut talk) = saved();
    let destination = Host::new();
    let mut receiving = restore(&destination, stream_of(stream)).unwrap();
    done(&mut receiving, 0).unwrap();
    talk.ask(json!({"op": "suspended", "ok": true})).unwrap();
    done(&mut talk, 0).unwrap();
    let images = destination.daemon.images.list(0);
    assert_eq!(images.len(), 2);
    for (image, (seed, count)) in images.iter().zip([(1, 4), (2, 3)]) {
        let taken = destination.daemon.images.take(0, image.key).unwrap();
        for (number, bytes) in written(seed, count) {
            let mut read = vec![0; bytes.len()];
            taken.read(number, 0, &mut read).unwrap();
            assert!(read == bytes, "object {number}");
        }
        taken.manifest(image.key.generation).unwrap();
    }
    let sent = source.daemon.reports.get(0).unwrap().gpu_bytes;
    let received = destination.daemon.reports.get(0).unwrap();
    assert_eq!(received.gpu_bytes.precopy, sent.precopy);
    assert!(sent.copies > 0, "the programs' buffers have equal chunks");
    assert_eq!(received.gpu_bytes.copies, sent.copies);
    assert_eq!(received.gpu_bytes.zero, sent.zero);
    assert!(
        received.gpu_bytes.stop > sent.stop,
        "the manifests come on top"
    );
    assert_eq!(received.sessions.len(), 2);
    assert_eq!(received.sessions[0].program, "program-1");
}

#[test]
fn a_domain_without_sessions_is_passed_by() {
    let host = Host::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (_talk, begun) = host.save(writer.as_fd());
    assert_eq!(begun.unwrap()["sessions"], 0);
    drop(writer);
    drop(_talk);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes.is_empty(), "not one byte");
}

#[test]
fn a_save_without_rounds_is_whole_too() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let collecting = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    talk.ask(json!({"op": "stop"})).unwrap();
    (&writer).write_all(&END.to_bytes()).unwrap();
    drop(writer);
    talk.ask(json!({"op": "suspended", "ok": true})).unwrap();
    done(&mut talk, 0).unwrap();
    // Not waited for: in loopback the program runs on, and takes its state back.
    eventually("it is back", || program.bytes().is_some());
    drop(talk);
    let destination = Host::new();
    let stream = collecting.join().unwrap();
    let mut receiving = restore(&destination, stream_of(stream)).unwrap();
    done(&mut receiving, 0).unwrap();
    assert_eq!(destination.daemon.images.list(0)[0].objects, 4);
}

#[test]
fn a_session_detached_by_hand_travels_from_the_spool() {
    let source = Host::new();
    let program = Program::start(&source.programs, 1, objects(1, 4));
    source.expect_sessions(1);
    source.request("detach").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let destination = Host::new();
    std::thread::scope(|scope| {
        let receiving = scope.spawn(|| restore(&destination, reader));
        let mut talk = save(&source, writer, || ()).unwrap();
        done(&mut receiving.join().unwrap().unwrap(), 0).unwrap();
        done(&mut talk, -1).unwrap();
    });
    let image = destination.daemon.images.list(0)[0];
    let taken = destination.daemon.images.take(0, image.key).unwrap();
    let mut read = vec![0; objects(1, 4)[&3].len()];
    taken.read(3, 0, &mut read).unwrap();
    assert!(read == objects(1, 4)[&3]);
    let received = destination.daemon.reports.get(0).unwrap().gpu_bytes;
    assert!(received.copies > 0, "a stored image has equal chunks too");
    // It failed after all: still detached by hand at the source, and still there.
    assert_eq!(program.bytes(), None);
    source.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 4)));
}

#[test]
fn two_migrations_of_one_domain_at_once_are_refused() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (_reader, writer) = std::io::pipe().unwrap();
    let (first, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let (_second, refused) = host.save(writer.as_fd());
    assert!(refused.unwrap_err().contains("busy: a migration"));
    assert!(
        host.request("detach")
            .unwrap_err()
            .contains("busy: a migration")
    );
    drop(first);
    eventually("the domain is free again", || {
        host.daemon.locks.what(0).is_none()
    });
    host.request("detach").unwrap();
    host.request("attach").unwrap();
    assert_eq!(program.bytes(), Some(objects(1, 3)));
}

#[test]
fn a_program_that_never_rests_ends_the_rounds() {
    let host = Host::new();
    Program::start_with(&host.programs, 1, objects(1, 3), |s| s.busy = Some(3));
    host.expect_sessions(1);
    let report = host
        .ask(json!({"op": "migrate-loopback", "domid": 0}))
        .unwrap();
    let rounds = report["gpu_bytes"]["precopy"].as_array().unwrap();
    assert!((3..10).contains(&rounds.len()), "{report}");
    assert_eq!(
        rounds[1],
        objects(1, 3)[&3].len(),
        "dirty rounds send what is dirty"
    );
}

/// A session that says something has the daemon look at its domain, and serve what waits there. Whoever serves, a
/// rehearsal is over when all contents are back.
#[test]
fn a_rehearsal_waits_for_contents_that_a_look_would_serve() {
    let host = Host::new();
    let program = Program::start(&host.programs, 1, objects(1, 2));
    let mut talker = LoopbackRendezvous::connect(&host.programs).unwrap();
    let mut announcement = announcement(SessionId([2; 16]), "talker");
    talker.announce(&announcement).unwrap();
    host.expect_sessions(2);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                announcement.generation += 1;
                talker.announce(&announcement).unwrap();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        let only = program.id.to_string();
        let outcomes: Vec<_> = (0..20)
            .map(|_| {
                let moved =
                    host.ask(json!({"op": "migrate-loopback", "domid": 0, "session": only}));
                (moved.map(|report| report["ok"].clone()), program.bytes())
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            assert_eq!(outcome, (Ok(true.into()), Some(objects(1, 2))));
        }
    });
}

#[test]
fn a_rehearsal_is_a_whole_migration() {
    let host = Host::new();
    let programs = [1, 2].map(|seed| Program::start(&host.programs, seed, objects(seed.into(), 4)));
    host.expect_sessions(2);
    for _ in 0..3 {
        let report = host
            .ask(json!({"op": "migrate-loopback", "domid": 0}))
            .unwrap();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(report["sessions"].as_array().unwrap().len(), 2);
        assert_eq!(report["gpu_blackout_s"], 3e-5);
        assert_eq!(report["vm_downtime_s"], 2e-5);
        for (program, seed) in programs.iter().zip([1, 2]) {
            assert_eq!(program.bytes(), Some(objects(seed, 4)));
        }
    }
    let only = programs[0].id.to_string();
    let report = host
        .ask(json!({"op": "migrate-loopback", "domid": 0, "session": only}))
        .unwrap();
    assert_eq!(report["sessions"].as_array().unwrap().len(), 1);
}
