//! A dom0 that keeps no rule, against the guest's end: the session never panics, never hangs, acknowledges the close,
//! and the program goes on unless it has been told to give its state up.

mod common;

use common::raw::{RawHost, scribble};
use common::rng::Rng;
use common::workload::{Memory, some_objects};
use common::{AGES, Meeting, announcement, guest_patience};
use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::Duration;
use xl_gpu_channel::guest::Session;
use xl_gpu_channel::link::{Peer, Residence};
use xl_gpu_channel::loopback::LoopbackRendezvous;
use xl_gpu_channel::message::{ToGuest, ToHost};

const CASES: u64 = 1500;
const WORKERS: u64 = 4;

/// Often the one that leads on to a migration.
fn command(rng: &mut Rng, next: &mut usize) -> ToGuest {
    let number = rng.next() % 3;
    if !rng.one_in(4) {
        *next += 1;
        return [
            ToGuest::Begin { generation: 1 },
            ToGuest::Round { number: 0 },
            ToGuest::Stop { timeout_ms: 1 },
            ToGuest::Unload {},
            ToGuest::Restore { generation: 1 },
        ][(*next - 1) % 5];
    }
    match rng.below(11) {
        0 | 1 => ToGuest::Begin { generation: 1 },
        2 => ToGuest::Round { number },
        3 => ToGuest::Stop { timeout_ms: number },
        4 => ToGuest::Unload {},
        5 => ToGuest::Resume {},
        6 => ToGuest::Restore { generation: 1 },
        7 => ToGuest::SlotFree { slot: number },
        8 => ToGuest::Filled {
            slot: number,
            len: rng.nasty(),
        },
        9 => ToGuest::FilledZero {
            slot: number,
            len: rng.nasty(),
        },
        _ => ToGuest::FetchFailed { slot: number },
    }
}

/// Mostly answers as dom0 would, so that the guest gets somewhere.
fn behave(rng: &mut Rng, host: &mut RawHost, honest: bool) {
    while let Some(message) = host.try_recv() {
        let answer = match message {
            ToHost::Data { slot, .. } | ToHost::Failed { slot, .. } => ToGuest::SlotFree { slot },
            ToHost::Fetch { slot, .. } if rng.one_in(20) => ToGuest::FetchFailed { slot },
            ToHost::Fetch { slot, len, .. } if rng.one_in(4) => ToGuest::FilledZero { slot, len },
            ToHost::Fetch { slot, len, .. } => ToGuest::Filled { slot, len },
            _ => continue,
        };
        if (honest || !rng.one_in(10)) && host.try_send(&answer.encode()).is_err() {
            return;
        }
    }
}

fn case(seed: u64) -> (bool, usize) {
    let mut rng = Rng::new(seed);
    let meeting = Meeting::new();
    let (mut memory, program) = Memory::new(some_objects(300));
    memory.fail_one_in = rng.pick(&[0, 20]);
    memory.rng = Rng::new(!seed);
    let pages = rng.pick(&[5, 8, 40]);
    let mut rendezvous = LoopbackRendezvous::connect(&meeting.path).unwrap();
    let guest = std::thread::spawn(move || {
        let mut session = Session::new(memory, announcement(), pages)
            .with_timeouts(guest_patience(Duration::from_millis(3)));
        session.run(&mut rendezvous).kind()
    });
    let mut peer = meeting.listener.accept(AGES).unwrap();
    let mut opened = 0;
    for _ in 0..1 + rng.below(3) {
        // A rude daemon asks to open what is open, too.
        let (link, layout) = peer.open(AGES).unwrap();
        opened += 1;
        let mut host = RawHost::new(link, layout);
        let mut next = 0;
        let (honest, vandal) = (rng.one_in(2), rng.one_in(4));
        for _ in 0..rng.below(40) {
            match rng.below(6) {
                0 | 1 => {
                    let _ = host.try_send(&command(&mut rng, &mut next).encode());
                }
                2 if vandal => scribble(&mut rng, host.link.memory(), &host.layout, true),
                2 if !honest && rng.one_in(10) => {
                    let mut noise = [0; 64];
                    noise.copy_from_slice(&rng.bytes(64));
                    let _ = host.try_send(&noise);
                }
                _ => std::thread::sleep(Duration::from_micros(rng.next() % 800)),
            }
            behave(&mut rng, &mut host, honest);
        }
        if rng.one_in(4) {
            drop(host);
            continue;
        }
        peer.close(host.link, AGES)
            .expect("the guest acknowledges, whatever has happened");
    }
    drop(peer);
    assert_eq!(guest.join().expect("no panic"), ErrorKind::UnexpectedEof);
    let program = program.lock().unwrap();
    let gone = program.objects.is_none();
    assert!(
        gone || !program.held,
        "seed {seed}: dom0 has gone, the program still waits"
    );
    (gone, opened)
}

#[test]
fn a_guest_survives_any_dom0() {
    let (tx, rx) = mpsc::channel();
    for worker in 0..WORKERS {
        let tx = tx.clone();
        std::thread::spawn(move || {
            for seed in (worker..CASES).step_by(WORKERS as usize) {
                let outcome = std::panic::catch_unwind(|| case(seed)).ok();
                if tx.send((seed, outcome)).is_err() {
                    return;
                }
            }
        });
    }
    let (mut gone, mut reopened) = (0, 0);
    for _ in 0..CASES {
        let (seed, outcome) = rx.recv_timeout(4 * AGES).expect("no case hangs");
        let (detached, opened) = outcome.unwrap_or_else(|| panic!("case {seed}"));
        gone += usize::from(detached);
        reopened += usize::from(opened > 1);
    }
    println!("{gone} ended detached, {reopened} were opened more than once");
    assert!(gone > 0 && reopened > 0);
}

/// After all that the session is as good as new: announced, and it can be opened.
#[test]
fn a_broken_link_can_be_opened_again() {
    let meeting = Meeting::new();
    let (memory, _) = Memory::new(some_objects(10));
    let mut rendezvous = LoopbackRendezvous::connect(&meeting.path).unwrap();
    let guest = std::thread::spawn(move || {
        let mut session = Session::new(memory, announcement(), 8)
            .with_timeouts(guest_patience(Duration::from_millis(50)));
        session.run(&mut rendezvous).kind()
    });
    let mut peer = meeting.listener.accept(AGES).unwrap();
    let (link, layout) = peer.open(AGES).unwrap();
    let mut host = RawHost::new(link, layout);
    host.try_send(&[0xff; 64]).unwrap();
    peer.close(host.link, AGES).unwrap();
    let (link, _) = peer.open(AGES).unwrap();
    peer.close(link, AGES).unwrap();
    peer.refresh().unwrap();
    assert_eq!(peer.announcement().state, Residence::Attached);
    drop(peer);
    assert_eq!(guest.join().unwrap(), ErrorKind::UnexpectedEof);
}
