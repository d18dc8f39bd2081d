//! A guest that lies in every way the shared pages allow, against dom0's states: always an error or validated
//! batches, never a panic, never a wait without end.

mod common;

use common::raw::{RawGuest, scribble};
use common::rng::Rng;
use common::{AGES, Meeting, Store, Together, limits};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use xl_gpu_channel::host::{Attached, Copying, Detached, HostError, HostTimeouts};
use xl_gpu_channel::image::BatchBuilder;
use xl_gpu_channel::link::{Link, Peer};
use xl_gpu_channel::message::{STOP_ROUND, ToGuest, ToHost};

const CASES: u64 = 5000;
const WORKERS: u64 = 4;

/// What happened, counted by name.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    fn saw(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn error(&mut self, error: &HostError) {
        self.saw(match error {
            HostError::Refused(_) => "refused",
            HostError::Port(_) => "port",
            HostError::TooSlow(_) => "too slow",
            HostError::OutOfTurn { .. } => "out of turn",
            HostError::Outside { .. } => "outside",
            HostError::Batch(_) => "batch",
            HostError::TooMuch { .. } => "too much",
            HostError::Store(_) => "store",
            HostError::CutShort(_) => "cut short",
            HostError::RoundNumber(_) => "round number",
        });
    }
}

/// How the guest of a case misbehaves.
#[derive(Clone, Copy)]
struct Temper {
    /// One message in so many is not the right one.
    lie: usize,
    /// One turn in so many scribbles over the pages.
    scribble: usize,
    /// Indices and ring entries, too.
    deep: bool,
}

fn wrong_message(rng: &mut Rng) -> [u8; 64] {
    let mut entry = [0; 64];
    for word in entry.chunks_exact_mut(8) {
        word.copy_from_slice(&rng.nasty().to_le_bytes());
    }
    let number = 101 + rng.below(12) as u64;
    if !rng.one_in(8) {
        entry[..8].copy_from_slice(&number.to_le_bytes());
    }
    entry
}

/// A batch that is right, or nearly.
fn batch(rng: &mut Rng, guest: &RawGuest, slot: usize, round: u32) -> ToHost {
    let room = guest.layout.payload_size();
    let mut batch = BatchBuilder::new(room, guest.layout.table_extents());
    for _ in 0..1 + rng.below(5) {
        let (object, len) = (rng.next() % 4, 1 + rng.below(room / 4));
        let bytes = vec![rng.next() as u8; len];
        let size = 1 << 16;
        let fits = match rng.below(4) {
            0 => batch.push_zero(object, size, rng.next() % 1000, 1 + rng.below(1000) as u32),
            1 => batch.push_drop(object),
            _ => batch.push_data(
                object,
                size.max(len as u64 + 1000),
                rng.next() % 1000,
                &bytes,
            ),
        };
        if !fits {
            break;
        }
    }
    guest.put(slot, &batch);
    ToHost::Data {
        slot: slot as u64,
        round: round.into(),
        payload: batch.payload().len() as u64,
        extents: batch.len() as u64,
    }
}

fn guest(mut guest: RawGuest, rng: &mut Rng, temper: Temper) {
    let mut round = 0;
    let mut owed: Vec<ToHost> = Vec::new();
    while guest.rendezvous_is_quiet() {
        if rng.one_in(temper.scribble) {
            scribble(rng, guest.link.memory(), &guest.layout, temper.deep);
        }
        if rng.one_in(temper.lie) {
            guest.try_send(&wrong_message(rng));
        }
        match guest.try_recv() {
            Some(ToGuest::Begin { .. }) => owed.push(ToHost::Begun {
                buffers: 1,
                bytes: 1,
                contexts: 0,
                left: 0,
                pinned: 0,
            }),
            Some(ToGuest::Round { number }) => {
                round = number as u32;
                owed.push(ToHost::RoundDone {
                    number,
                    bytes: 1,
                    dirty: 1,
                    whole: rng.next() >> 8,
                    why: rng.next(),
                    left: 0,
                    pinned: 0,
                });
            }
            Some(ToGuest::Stop { .. }) => {
                round = STOP_ROUND;
                owed.push(ToHost::Stopped {
                    bytes: 0,
                    buffers: 0,
                    drain_ns: 0,
                    copy_ns: rng.next() >> 18,
                    compare_ns: rng.next() >> 18,
                    examined: rng.next(),
                });
            }
            Some(ToGuest::Unload {}) => owed.push(ToHost::Unloaded {
                unload_ns: 0,
                libraries: 0,
                devices: 0,
            }),
            Some(ToGuest::Resume {}) => owed.push(ToHost::Resumed { blackout_ns: 0 }),
            Some(ToGuest::Restore { .. }) => {
                owed.push(ToHost::Restored { bytes: 0 });
                owed.push(ToHost::Opened {
                    blackout_ns: 0,
                    downtime_ns: 0,
                    reload_ns: 0,
                });
            }
            Some(_) | None => {}
        }
        let Some(&answer) = owed.last() else {
            std::thread::yield_now();
            continue;
        };
        // Some data, some fetches, some failures, then the answer.
        let slot = rng.below(guest.layout.slots());
        let message = match (rng.below(8), answer) {
            (0..4, ToHost::RoundDone { .. } | ToHost::Stopped { .. }) => {
                batch(rng, &guest, slot, round)
            }
            (0..4, ToHost::Restored { .. }) => ToHost::Fetch {
                slot: slot as u64,
                object: rng.next() % 5,
                offset: rng.next() % 2000,
                len: rng.next() % guest.layout.payload_size() as u64,
            },
            (4, _) => ToHost::Busy {},
            (5, _) if rng.one_in(4) => {
                owed.pop();
                let (slot, len) = (slot as u64, 20);
                ToHost::Failed { slot, len }
            }
            _ => {
                owed.pop();
                answer
            }
        };
        guest.try_send(&message.encode());
    }
}

type L = Box<dyn Link>;

/// dom0 goes through its states at random until the link ends.
fn dom0(mut attached: Attached<L>, rng: &mut Rng, seen: &mut Seen) -> L {
    for generation in 0..6 {
        let copying = match attached.begin(generation) {
            Ok((_, copying)) => copying,
            Err(refused) => {
                seen.error(&refused.error);
                match refused.session {
                    Some(session) => attached = session,
                    None => return refused.link.expect("a lost session leaves its link"),
                }
                continue;
            }
        };
        seen.saw("begun");
        match capture(copying, rng, seen) {
            Ok(back) => attached = back,
            Err(link) => return link,
        }
    }
    seen.saw("survived");
    attached.into_link()
}

fn capture(mut copying: Copying<L>, rng: &mut Rng, seen: &mut Seen) -> Result<Attached<L>, L> {
    let mut store = Store {
        room: rng.one_in(4).then(|| rng.below(6)),
        ..Store::default()
    };
    let threads = 1 + rng.below(4);
    for number in 0..rng.below(4) as u32 {
        match copying.round(number, &Together::new(&mut store, threads)) {
            Ok(_) => seen.saw("round"),
            Err(e) => {
                seen.error(&e);
                if e.ends_the_link() {
                    return Err(copying.into_link());
                }
            }
        }
    }
    if store.batches > 0 {
        seen.saw("batches");
    }
    if rng.one_in(3) {
        return resume(copying.resume(), seen);
    }
    let quiesced = match copying.stop(
        Duration::from_millis(1),
        &Together::new(&mut store, threads),
    ) {
        Ok((_, quiesced)) => quiesced,
        Err(refused) => {
            seen.error(&refused.error);
            return match refused.session {
                Some(copying) => resume(copying.resume(), seen),
                None => Err(refused.link.expect("a lost session leaves its link")),
            };
        }
    };
    seen.saw("stopped");
    if rng.one_in(3) {
        return resume(quiesced.resume().map(|(_, attached)| attached), seen);
    }
    let detached = match quiesced.unload() {
        Ok((_, detached)) => detached,
        Err(refused) => {
            seen.error(&refused.error);
            return match refused.session {
                Some(quiesced) => resume(quiesced.resume().map(|(_, attached)| attached), seen),
                None => Err(refused.link.expect("a lost session leaves its link")),
            };
        }
    };
    seen.saw("unloaded");
    restore(detached, store, seen)
}

fn resume<S>(
    resumed: Result<Attached<L>, xl_gpu_channel::host::Refused<S, L>>,
    seen: &mut Seen,
) -> Result<Attached<L>, L>
where
    S: IntoLink,
{
    match resumed {
        Ok(attached) => {
            seen.saw("resumed");
            Ok(attached)
        }
        Err(refused) => {
            seen.error(&refused.error);
            Err(refused
                .link
                .unwrap_or_else(|| refused.session.expect("one of both").into_link()))
        }
    }
}

trait IntoLink {
    fn into_link(self) -> L;
}

impl IntoLink for Copying<L> {
    fn into_link(self) -> L {
        Copying::into_link(self)
    }
}

impl IntoLink for xl_gpu_channel::host::Quiesced<L> {
    fn into_link(self) -> L {
        xl_gpu_channel::host::Quiesced::into_link(self)
    }
}

fn restore(detached: Detached<L>, store: Store, seen: &mut Seen) -> Result<Attached<L>, L> {
    let mut opened = 0;
    let restored = detached.restore(1, &store, &mut |_| opened += 1);
    assert!(opened <= 1, "a program is opened once");
    if restored.is_err() && opened > 0 {
        seen.saw("lost while arriving");
    }
    match restored {
        Ok((_, attached)) => {
            seen.saw("restored");
            Ok(attached)
        }
        Err(refused) => {
            seen.error(&refused.error);
            Err(refused
                .link
                .unwrap_or_else(|| refused.session.expect("one of both").into_link()))
        }
    }
}

fn case(seed: u64, seen: &mut Seen) {
    let mut rng = Rng::new(seed);
    let temper = Temper {
        lie: rng.pick(&[3, 10, 100, usize::MAX]),
        scribble: rng.pick(&[2, 20, usize::MAX]),
        deep: rng.one_in(3),
    };
    let pages = rng.pick(&[5, 8, 40, 80]);
    let spoilt = rng.one_in(10);
    let meeting = Meeting::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let path = &meeting.path;
        let over = &over;
        s.spawn(move || {
            let mut rng = Rng::new(!seed);
            let mut spoil = Rng::new(seed ^ 1);
            let raw = RawGuest::meet(path, pages, |memory| {
                if spoilt {
                    for _ in 0..3 {
                        let value = spoil.nasty() as u32;
                        memory.store(spoil.below(8) * 4, value, Ordering::Relaxed);
                    }
                }
            });
            guest(raw, &mut rng, temper);
            assert!(over.load(Ordering::Acquire), "the guest ended before dom0");
        });
        let mut peer = meeting.listener.accept(AGES).unwrap();
        let patience = HostTimeouts {
            silence: Duration::from_millis(5),
        };
        match peer.open(AGES) {
            Err(e) => {
                // Scribbled over before dom0 has read it, or right away.
                let vandal = temper.scribble < usize::MAX;
                assert!(spoilt || vandal, "seed {seed}: {e}");
                seen.saw("bad directory");
            }
            Ok((link, layout)) => {
                let attached = Attached::new(link, layout, limits(), patience);
                drop(dom0(attached, &mut rng, seen));
            }
        }
        over.store(true, Ordering::Release);
        drop(peer);
    });
}

/// A case that hangs is told by its silence; a failing one prints its seed.
#[test]
fn dom0_survives_any_guest() {
    let (tx, rx) = mpsc::channel();
    for worker in 0..WORKERS {
        let tx = tx.clone();
        std::thread::spawn(move || {
            let mut seen = Seen::default();
            for seed in (worker..CASES).step_by(WORKERS as usize) {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    case(seed, &mut seen)
                }));
                tx.send((seed, done.is_ok(), None)).unwrap();
            }
            tx.send((worker, true, Some(seen))).unwrap();
        });
    }
    let mut total = Seen::default();
    let mut finished = 0;
    while finished < WORKERS {
        let (seed, well, seen) = rx.recv_timeout(4 * AGES).expect("no case hangs");
        assert!(well, "case {seed}");
        if let Some(seen) = seen {
            finished += 1;
            for (what, n) in seen.0 {
                *total.0.entry(what).or_default() += n;
            }
        }
    }
    println!("{:?}", total.0);
    // The cases are of use only if they get everywhere.
    for what in [
        "begun",
        "round",
        "batches",
        "stopped",
        "unloaded",
        "restored",
        "lost while arriving",
        "resumed",
        "survived",
        "refused",
        "port",
        "out of turn",
        "outside",
        "batch",
        "store",
        "cut short",
        "bad directory",
    ] {
        assert!(total.0.contains_key(what), "no case has seen: {what}");
    }
}
