//! The ring against a `VecDeque`, and against peers that lie.

use super::*;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// The flat test double.
struct Flat {
    producer: Cell<u32>,
    consumer: Cell<u32>,
    entries: RefCell<[Entry; ENTRIES as usize]>,
    touched: Cell<u32>,
}

impl Flat {
    fn at(index: u32) -> Flat {
        Flat {
            producer: Cell::new(index),
            consumer: Cell::new(index),
            entries: RefCell::new([[0; ENTRY_SIZE]; ENTRIES as usize]),
            touched: Cell::new(0),
        }
    }
}

impl RingMem for Flat {
    fn load_producer(&self) -> u32 {
        self.producer.get()
    }
    fn store_producer(&self, index: u32) {
        self.touched.set(self.touched.get() + 1);
        self.producer.set(index);
    }
    fn load_consumer(&self) -> u32 {
        self.consumer.get()
    }
    fn store_consumer(&self, index: u32) {
        self.touched.set(self.touched.get() + 1);
        self.consumer.set(index);
    }
    fn read(&self, slot: u32) -> Entry {
        self.touched.set(self.touched.get() + 1);
        self.entries.borrow()[slot as usize]
    }
    fn write(&self, slot: u32, entry: &Entry) {
        self.touched.set(self.touched.get() + 1);
        self.entries.borrow_mut()[slot as usize] = *entry;
    }
}

fn entry(n: u64) -> Entry {
    let mut entry = [n as u8; ENTRY_SIZE];
    entry[..8].copy_from_slice(&n.to_le_bytes());
    entry
}

/// Where indices start: anywhere, and often just before they wrap.
fn start() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), u32::MAX - 200..=u32::MAX, any::<u32>()]
}

/// Runs of pushes (`true`) and pops, long enough to fill and to drain.
fn runs() -> impl Strategy<Value = Vec<(bool, u8)>> {
    prop::collection::vec((any::<bool>(), 1..100u8), 1..40)
}

proptest! {
    #[test]
    fn is_a_bounded_queue(start in start(), runs in runs()) {
        let mem = Flat::at(start);
        let (mut producer, mut consumer) = (Producer::starting_at(start), Consumer::starting_at(start));
        let mut model = VecDeque::new();
        let mut next = 0;
        for (push, times) in runs {
            for _ in 0..times {
                if push {
                    let room = model.len() < ENTRIES as usize;
                    prop_assert_eq!(producer.push(&mem, &entry(next)), Ok(room));
                    if room {
                        model.push_back(next);
                    }
                    next += 1;
                } else {
                    prop_assert_eq!(consumer.pop(&mem), Ok(model.pop_front().map(entry)));
                }
            }
        }
    }

    /// After any honest history, every index the consumer cannot have is `Corrupt`, and nothing has been
    /// written for it: neither an entry nor our index. Every index it can have works.
    #[test]
    fn a_producer_believes_no_impossible_index(start in start(), runs in runs(), lie in any::<u32>(), near in -70i32..70) {
        let mem = Flat::at(start);
        let (mut producer, mut consumer) = (Producer::starting_at(start), Consumer::starting_at(start));
        for (push, times) in runs {
            for _ in 0..times {
                if push {
                    producer.push(&mem, &entry(0)).unwrap();
                } else {
                    consumer.pop(&mem).unwrap();
                }
            }
        }
        for theirs in [lie, producer.index.wrapping_add_signed(near)] {
            let (ours, seen) = (producer.index, producer.peer);
            let possible = ours.wrapping_sub(theirs) <= ours.wrapping_sub(seen);
            mem.consumer.set(theirs);
            mem.touched.set(0);
            match producer.push(&mem, &entry(1)) {
                Err(error) => {
                    prop_assert!(!possible);
                    prop_assert_eq!(error, Corrupt { ours, theirs });
                    prop_assert_eq!((mem.touched.get(), producer.index), (0, ours));
                    // It stays corrupt, and an honest index afterwards is taken again.
                    prop_assert!(producer.push(&mem, &entry(1)).is_err());
                }
                Ok(sent) => {
                    prop_assert!(possible);
                    prop_assert_eq!(sent, ours.wrapping_sub(theirs) < ENTRIES);
                }
            }
            mem.consumer.set(producer.peer);
        }
    }

    #[test]
    fn a_consumer_believes_no_impossible_index(start in start(), runs in runs(), lie in any::<u32>(), near in -70i32..70) {
        let mem = Flat::at(start);
        let (mut producer, mut consumer) = (Producer::starting_at(start), Consumer::starting_at(start));
        for (push, times) in runs {
            for _ in 0..times {
                if push {
                    producer.push(&mem, &entry(0)).unwrap();
                } else {
                    consumer.pop(&mem).unwrap();
                }
            }
        }
        for theirs in [lie, consumer.index.wrapping_add_signed(near)] {
            let (ours, seen) = (consumer.index, consumer.peer);
            let waiting = theirs.wrapping_sub(ours);
            let possible = waiting <= ENTRIES && waiting >= seen.wrapping_sub(ours);
            mem.producer.set(theirs);
            mem.touched.set(0);
            match consumer.pop(&mem) {
                Err(error) => {
                    prop_assert!(!possible);
                    prop_assert_eq!(error, Corrupt { ours, theirs });
                    prop_assert_eq!((mem.touched.get(), consumer.index), (0, ours));
                    prop_assert!(consumer.pop(&mem).is_err());
                }
                Ok(got) => {
                    prop_assert!(possible);
                    prop_assert_eq!(got.is_some(), waiting > 0);
                }
            }
            mem.producer.set(consumer.peer);
        }
    }
}

#[test]
fn an_index_of_the_past_is_corrupt() {
    let mem = Flat::at(0);
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    for n in 0..3 {
        assert_eq!(producer.push(&mem, &entry(n)), Ok(true));
    }
    assert_eq!(consumer.pop(&mem), Ok(Some(entry(0))));
    assert_eq!(producer.push(&mem, &entry(3)), Ok(true));
    // The consumer had taken one; now it says none. In bounds, but never the truth.
    mem.consumer.set(0);
    let (ours, theirs) = (4, 0);
    assert_eq!(
        producer.push(&mem, &entry(4)),
        Err(Corrupt { ours, theirs })
    );
    // The producer takes back what it had published.
    assert_eq!(consumer.pop(&mem), Ok(Some(entry(1))));
    mem.producer.set(3);
    let (ours, theirs) = (2, 3);
    assert_eq!(consumer.pop(&mem), Err(Corrupt { ours, theirs }));
}
