//! Every interleaving of the two ends of a ring, and of ringing and waiting.
//!
//! The code under test is included as source: it is compiled here against loom's atomics, while the crate itself
//! keeps the real ones. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p xl-gpu-channel --release --test loom`.
#![cfg(loom)]

#[path = "../src/ring.rs"]
#[allow(dead_code)]
mod ring;

#[path = "../src/doorbell.rs"]
#[allow(dead_code)]
mod doorbell;

use doorbell::{Doorbell, Woken};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use ring::{Consumer, Corrupt, ENTRIES, ENTRY_SIZE, Entry, Producer, RingMem};

/// The shared pages: indices as in `layout.rs`, an entry cut down to its first word. The word is *relaxed*, so
/// that only the order of the indices makes it visible: a missing acquire or release shows as a wrong entry. The
/// cell beside it holds nothing; loom reports a reader and a writer that no order keeps apart.
struct Pages {
    producer: AtomicU32,
    consumer: AtomicU32,
    entries: Vec<(AtomicU64, UnsafeCell<()>)>,
}

impl Pages {
    fn at(index: u32) -> Pages {
        Pages {
            producer: AtomicU32::new(index),
            consumer: AtomicU32::new(index),
            entries: (0..ENTRIES)
                .map(|_| (AtomicU64::new(0), UnsafeCell::new(())))
                .collect(),
        }
    }
}

impl RingMem for Pages {
    fn load_producer(&self) -> u32 {
        self.producer.load(Ordering::Acquire)
    }
    fn store_producer(&self, index: u32) {
        self.producer.store(index, Ordering::Release);
    }
    fn load_consumer(&self) -> u32 {
        self.consumer.load(Ordering::Acquire)
    }
    fn store_consumer(&self, index: u32) {
        self.consumer.store(index, Ordering::Release);
    }
    fn read(&self, slot: u32) -> Entry {
        let (word, access) = &self.entries[slot as usize];
        access.with(|_| entry(word.load(Ordering::Relaxed)))
    }
    fn write(&self, slot: u32, entry: &Entry) {
        let (word, access) = &self.entries[slot as usize];
        access.with_mut(|_| word.store(number(entry), Ordering::Relaxed));
    }
}

fn entry(n: u64) -> Entry {
    let mut entry = [0; ENTRY_SIZE];
    entry[..8].copy_from_slice(&n.to_le_bytes());
    entry
}

fn number(entry: &Entry) -> u64 {
    u64::from_le_bytes(entry[..8].try_into().unwrap())
}

/// A doorbell as a descriptor behaves: readable while rung, until it is read. Its lock orders nothing but
/// itself as far as the ring is concerned: the ring's own orderings are tested without a doorbell.
#[derive(Default)]
struct EventFd {
    rung: Mutex<bool>,
    heard: Condvar,
}

/// One side's use of the peer's and its own doorbell.
struct Wired {
    theirs: Arc<EventFd>,
    ours: Arc<EventFd>,
}

impl Doorbell for Wired {
    type Error = Corrupt;

    fn ring(&mut self) -> Result<(), Corrupt> {
        *self.theirs.rung.lock().unwrap() = true;
        self.theirs.heard.notify_one();
        Ok(())
    }

    /// Waits without a time-out: a lost wake-up is a deadlock, which loom reports.
    fn sleep(&mut self) -> Result<Woken, Corrupt> {
        let mut rung = self.ours.rung.lock().unwrap();
        while !*rung {
            rung = self.ours.heard.wait(rung).unwrap();
        }
        Ok(Woken::Rang)
    }

    fn clear(&mut self) -> Result<(), Corrupt> {
        *self.ours.rung.lock().unwrap() = false;
        Ok(())
    }
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    builder.check(f);
}

/// A ring with `used` entries 1 .. in it; indices wrap on the way.
fn ring_with(used: u64) -> (Arc<Pages>, Producer, Consumer) {
    let start = u32::MAX - 1;
    let pages = Arc::new(Pages::at(start));
    let mut producer = Producer::starting_at(start);
    for n in 1..=used {
        assert_eq!(producer.push(&*pages, &entry(n)), Ok(true));
    }
    (pages, producer, Consumer::starting_at(start))
}

#[test]
fn entries_arrive_whole_and_in_order() {
    model(|| {
        let (pages, mut producer, mut consumer) = ring_with(0);
        let theirs = pages.clone();
        let writer = thread::spawn(move || {
            for n in 1..=3 {
                assert_eq!(producer.push(&*theirs, &entry(n)), Ok(true));
            }
        });
        let mut expected = 1;
        while expected <= 3 {
            match consumer.pop(&*pages).unwrap() {
                Some(entry) => {
                    assert_eq!(number(&entry), expected);
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
        writer.join().unwrap();
    });
}

/// A full ring: an entry is overwritten only after it has been read.
#[test]
fn a_full_ring_overwrites_nothing_unread() {
    let full = u64::from(ENTRIES);
    model(move || {
        let (pages, mut producer, mut consumer) = ring_with(full);
        let theirs = pages.clone();
        let writer = thread::spawn(move || {
            for n in 1..=2 {
                while !producer.push(&*theirs, &entry(full + n)).unwrap() {
                    thread::yield_now();
                }
            }
        });
        for n in 1..=3 {
            assert_eq!(consumer.pop(&*pages).unwrap().map(|e| number(&e)), Some(n));
        }
        writer.join().unwrap();
        for n in 4..=full + 2 {
            assert_eq!(consumer.pop(&*pages).unwrap().map(|e| number(&e)), Some(n));
        }
        assert_eq!(consumer.pop(&*pages), Ok(None));
    });
}

fn doorbells() -> (Wired, Wired) {
    let (a, b) = (Arc::new(EventFd::default()), Arc::new(EventFd::default()));
    let one = Wired {
        theirs: a.clone(),
        ours: b.clone(),
    };
    (one, Wired { theirs: b, ours: a })
}

/// The consumer sleeps whenever it finds nothing; no interleaving leaves it asleep with an entry waiting.
#[test]
fn no_wake_up_is_lost() {
    model(|| {
        let (pages, mut producer, mut consumer) = ring_with(0);
        let (mut writers, mut readers) = doorbells();
        let theirs = pages.clone();
        let writer = thread::spawn(move || {
            for n in 1..=3 {
                assert!(doorbell::send(&mut producer, &*theirs, &mut writers, &entry(n)).unwrap());
            }
        });
        for n in 1..=3 {
            let entry = doorbell::receive(&mut consumer, &*pages, &mut readers).unwrap();
            assert_eq!(entry.map(|e| number(&e)), Some(n));
        }
        writer.join().unwrap();
    });
}

/// Command and answer over two rings: each side sleeps while the other is awake.
#[test]
fn a_conversation_never_stalls() {
    model(|| {
        let (down, mut asks, mut hears) = ring_with(0);
        let (up, mut answers, mut gets) = ring_with(0);
        let (mut host, mut guest) = doorbells();
        let (down2, up2) = (down.clone(), up.clone());
        let peer = thread::spawn(move || {
            for _ in 0..2 {
                let asked = doorbell::receive(&mut hears, &*down2, &mut guest).unwrap();
                let answer = entry(number(&asked.unwrap()) * 10);
                assert!(doorbell::send(&mut answers, &*up2, &mut guest, &answer).unwrap());
            }
        });
        for n in 1..=2 {
            assert!(doorbell::send(&mut asks, &*down, &mut host, &entry(n)).unwrap());
            let answer = doorbell::receive(&mut gets, &*up, &mut host).unwrap();
            assert_eq!(answer.map(|e| number(&e)), Some(n * 10));
        }
        peer.join().unwrap();
    });
}
