//! Histories of contents, sent by the real writer and received into a real spool.

use channel::image::{Batch, BatchBuilder, BatchError, BatchLimits, SessionId, SessionKey};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Mutex;
use stream::{
    CHUNK, Elided, ImageId, MAX_EXTENTS, MAX_PAYLOAD, Receiver, RecordHeader, RecordSender,
    RecordWriter, SendError, StreamError, StreamLimits, TYPE_DATA, Totals,
};
use xl_gpu_spool::{GuestSpool, Spool, SpoolConfig};

mod refused;

const KEY: SessionKey = SessionKey {
    session: SessionId([3; 16]),
    generation: 1,
};
const PAGE: usize = CHUNK as usize;

/// Sizes of objects 1, 2, 3 and 4: with and without a short last chunk, and one without a whole chunk.
const SIZES: [usize; 4] = [6 * PAGE, 5 * PAGE + 100, 12 * PAGE, 900];

type Model = BTreeMap<u64, Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    /// Chunks of the object are of these kinds, and sent from here to there.
    Data {
        object: u64,
        kinds: Vec<u8>,
        from: usize,
        to: usize,
    },
    Zero {
        object: u64,
        from: usize,
        to: usize,
    },
    Drop(u64),
}

fn size(object: u64) -> usize {
    SIZES[object as usize - 1]
}

/// Chunks of one kind are equal.
fn contents(object: u64, kinds: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; size(object)];
    for (chunk, kind) in bytes.chunks_mut(PAGE).zip(kinds.iter().cycle()) {
        for (at, byte) in chunk.iter_mut().enumerate() {
            *byte = kind.wrapping_mul(31).wrapping_add((at % 251) as u8);
        }
    }
    bytes
}

fn op() -> impl Strategy<Value = Op> {
    let ends = |object: u64, a: Index, b: Index, whole: u8| {
        let (a, b) = (a.index(size(object)), b.index(size(object)));
        // Mostly whole chunks, sometimes everything, sometimes any bytes.
        match whole {
            0..6 => (
                a.min(b) / PAGE * PAGE,
                ((a.max(b) / PAGE + 1) * PAGE).min(size(object)),
            ),
            6 => (0, size(object)),
            _ => (a.min(b), a.max(b) + 1),
        }
    };
    let run =
        (1..5u64, any::<Index>(), any::<Index>(), 0..9u8).prop_map(move |(o, a, b, whole)| {
            let (from, to) = ends(o, a, b, whole);
            (o, from, to)
        });
    prop_oneof![
        12 => (run.clone(), prop::collection::vec(0..5u8, 1..6)).prop_map(|((object, from, to), kinds)| {
            Op::Data { object, kinds, from, to }
        }),
        2 => run.prop_map(|(object, from, to)| Op::Zero { object, from, to }),
        1 => (1..5u64).prop_map(Op::Drop),
    ]
}

impl Op {
    fn build(&self, builder: &mut BatchBuilder) {
        let fits = match self {
            Op::Data {
                object,
                kinds,
                from,
                to,
            } => {
                let bytes = contents(*object, kinds);
                builder.push_data(
                    *object,
                    bytes.len() as u64,
                    *from as u64,
                    &bytes[*from..*to],
                )
            }
            Op::Zero { object, from, to } => {
                let len = (to - from) as u32;
                builder.push_zero(*object, size(*object) as u64, *from as u64, len)
            }
            Op::Drop(object) => builder.push_drop(*object),
        };
        assert!(fits);
    }

    fn perform(&self, model: &mut Model) {
        match self {
            Op::Data {
                object,
                kinds,
                from,
                to,
            } => held(model, *object)[*from..*to]
                .copy_from_slice(&contents(*object, kinds)[*from..*to]),
            Op::Zero { object, from, to } => held(model, *object)[*from..*to].fill(0),
            Op::Drop(object) => drop(model.remove(object)),
        }
    }
}

fn held(model: &mut Model, object: u64) -> &mut Vec<u8> {
    model.entry(object).or_insert_with(|| vec![0; size(object)])
}

fn totals(model: &Model) -> Totals {
    Totals {
        objects: model.len() as u64,
        bytes: model.values().map(|bytes| bytes.len() as u64).sum(),
    }
}

fn start(memory: usize) -> RecordSender<Vec<u8>> {
    RecordSender::remembering(memory, Vec::new(), ImageId([1; 16]), &[KEY]).unwrap()
}

fn send(sender: &RecordSender<Vec<u8>>, round: u32, ops: &[Op]) -> Elided {
    let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
    ops.iter().for_each(|op| op.build(&mut builder));
    let table = builder.table();
    let batch = Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
    sender.send(&KEY, round, &batch).unwrap()
}

fn spool(memory_bytes: u64) -> GuestSpool {
    let config = SpoolConfig {
        memory_bytes,
        dir: std::env::temp_dir(),
        guest_bytes: 1 << 30,
    };
    Spool::new(config).guest()
}

fn end() -> [u8; 8] {
    let end = RecordHeader {
        record_type: 0,
        length: 0,
    };
    end.to_bytes()
}

fn receive(stream: &[u8], into: &mut GuestSpool) -> Result<(), StreamError> {
    let mut receiver = Receiver::new(StreamLimits::default());
    let end = end();
    let mut from = io::Read::chain(stream, &end[..]);
    let first = receiver.reader().read_header(&mut from)?;
    receiver.records(&mut from, first, into)?;
    receiver.finish().map(drop)
}

fn image(spool: &GuestSpool) -> Model {
    let image = spool.get(&KEY).unwrap();
    let objects: Vec<_> = image.objects().collect();
    let read = |(object, size)| {
        let mut bytes = vec![0xAA; size as usize];
        image.read(object, 0, &mut bytes).unwrap();
        (object, bytes)
    };
    objects.into_iter().map(read).collect()
}

fn data(object: u64, kinds: &[u8]) -> Op {
    Op::Data {
        object,
        kinds: kinds.to_vec(),
        from: 0,
        to: size(object),
    }
}

/// The chunk `number` alone.
fn chunk(object: u64, number: usize, kind: u8) -> Op {
    Op::Data {
        object,
        kinds: vec![kind],
        from: number * PAGE,
        to: (number + 1) * PAGE,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever is overwritten, zeroed, dropped and repeated, and however little is remembered.
    #[test]
    fn a_history_arrives_as_it_was(
        rounds in prop::collection::vec(prop::collection::vec(prop::collection::vec(op(), 1..6), 0..5), 1..5),
        memory in prop_oneof![16_000..18_000usize, Just(1 << 20)],
        there in prop_oneof![Just(0u64), Just(1 << 20), Just(1 << 30)],
    ) {
        let (sender, mut model) = (start(memory), Model::new());
        for (round, batches) in rounds.iter().enumerate() {
            for ops in batches {
                send(&sender, round as u32, ops);
                ops.iter().for_each(|op| op.perform(&mut model));
            }
        }
        let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
        let mut arrived = spool(there);
        receive(&stream, &mut arrived).unwrap();
        prop_assert!(image(&arrived) == model);
    }

    /// Threads bring a round's batches side by side, as a session's do; objects that no two of them touch.
    #[test]
    fn threads_side_by_side_make_the_same_image(
        rounds in prop::collection::vec(prop::collection::vec(op(), 1..40), 1..5),
    ) {
        let (sender, mut model) = (start(1 << 20), Model::new());
        for (round, ops) in rounds.iter().enumerate() {
            std::thread::scope(|scope| {
                for object in 1..=SIZES.len() as u64 {
                    let sender = &sender;
                    scope.spawn(move || {
                        let own = |op: &&Op| matches!(op, Op::Data { object: o, .. } | Op::Zero { object: o, .. } | Op::Drop(o) if *o == object);
                        for op in ops.iter().filter(own) {
                            send(sender, round as u32, std::slice::from_ref(op));
                        }
                    });
                }
            });
            ops.iter().for_each(|op| op.perform(&mut model));
        }
        let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
        let mut arrived = spool(1 << 30);
        receive(&stream, &mut arrived).unwrap();
        prop_assert!(image(&arrived) == model);
    }

    /// A guest may have all threads write the same places: nobody knows which bytes win, but no reference is wrong.
    #[test]
    fn no_reference_is_wrong_when_threads_overwrite_each_other(
        threads in prop::collection::vec(prop::collection::vec(op(), 1..30), 2..5),
    ) {
        let sender = start(1 << 20);
        let all: Vec<Op> = (1..=SIZES.len() as u64).map(|object| data(object, &[9])).collect();
        send(&sender, 0, &all);
        std::thread::scope(|scope| {
            for ops in &threads {
                let sender = &sender;
                let kept = |op: &&Op| !matches!(op, Op::Drop(_));
                scope.spawn(move || {
                    for op in ops.iter().filter(kept) {
                        send(sender, 1, std::slice::from_ref(op));
                    }
                });
            }
        });
        let mut model = Model::new();
        all.iter().for_each(|op| op.perform(&mut model));
        let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
        receive(&stream, &mut spool(1 << 30)).unwrap();
    }
}

#[test]
fn what_is_equal_travels_once() {
    let sender = start(1 << 20);
    let kinds = [1, 2, 3, 4, 5, 6];
    assert_eq!(send(&sender, 0, &[data(1, &kinds)]), Elided::default());
    let before = sender.written().payload_bytes;
    let copies = 12 * CHUNK;
    assert_eq!(
        send(&sender, 0, &[data(3, &kinds)]),
        Elided { zero: 0, copies }
    );
    // Two runs, as object 1 is half as long: each is one extent.
    assert_eq!(sender.written().payload_bytes - before, 2 * 16);
    // Sent again as it is, it refers to itself.
    assert_eq!(send(&sender, 1, &[data(3, &kinds)]).copies, copies);

    let mut model = Model::new();
    for op in [data(1, &kinds), data(3, &kinds)] {
        op.perform(&mut model);
    }
    let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
    let mut arrived = spool(1 << 30);
    receive(&stream, &mut arrived).unwrap();
    assert!(image(&arrived) == model);
}

#[test]
fn one_batch_refers_to_itself_too() {
    let sender = start(1 << 20);
    let ops = [data(3, &[7])];
    assert_eq!(send(&sender, 0, &ops).copies, 11 * CHUNK);
    let mut model = Model::new();
    ops[0].perform(&mut model);
    let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
    let mut arrived = spool(1 << 30);
    receive(&stream, &mut arrived).unwrap();
    assert!(image(&arrived) == model);
}

/// Each way in which a place can lose what the stream had put there.
#[test]
fn a_place_that_has_changed_is_not_referred_to() {
    let part = |from, to| Op::Data {
        object: 1,
        kinds: vec![8],
        from,
        to,
    };
    let zero = |from, to| Op::Zero {
        object: 1,
        from,
        to,
    };
    let changes = [
        ("other bytes", vec![chunk(1, 2, 8)]),
        ("other bytes, whole", vec![data(1, &[8])]),
        ("zeros", vec![zero(2 * PAGE, 3 * PAGE)]),
        ("some zeros", vec![zero(2 * PAGE + 5, 2 * PAGE + 6)]),
        ("its first byte", vec![part(PAGE, 2 * PAGE + 1)]),
        ("its last byte", vec![part(3 * PAGE - 1, 4 * PAGE)]),
        ("a byte within", vec![part(2 * PAGE + 9, 2 * PAGE + 10)]),
        ("gone", vec![Op::Drop(1)]),
        ("gone and back", vec![Op::Drop(1), chunk(1, 5, 8)]),
    ];
    for (name, change) in changes {
        for together in [false, true] {
            let (sender, mut model) = (start(1 << 20), Model::new());
            let first = chunk(1, 2, 3);
            let last = chunk(3, 7, 3);
            send(&sender, 0, std::slice::from_ref(&first));
            // In the batch of the change, or in a later one.
            let copies = match together {
                true => send(
                    &sender,
                    1,
                    &[&change[..], std::slice::from_ref(&last)].concat(),
                ),
                false => {
                    send(&sender, 1, &change);
                    send(&sender, 1, std::slice::from_ref(&last))
                }
            };
            let own = match name {
                // Of chunks of one kind all but the first are copies.
                "other bytes, whole" if together => 5 * CHUNK,
                _ => 0,
            };
            assert_eq!(copies.copies, own, "{name}, in one batch: {together}");
            let ops = [std::slice::from_ref(&first), &change, &[last]].concat();
            ops.iter().for_each(|op| op.perform(&mut model));
            let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
            let mut arrived = spool(1 << 30);
            receive(&stream, &mut arrived).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(image(&arrived) == model, "{name}");
        }
    }
}

#[test]
fn sessions_do_not_refer_to_each_other() {
    let other = SessionKey {
        session: SessionId([4; 16]),
        generation: 1,
    };
    let sender = RecordSender::start(Vec::new(), ImageId([1; 16]), &[KEY, other]).unwrap();
    send(&sender, 0, &[chunk(1, 0, 3)]);
    let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
    chunk(1, 0, 3).build(&mut builder);
    let table = builder.table();
    let batch = Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
    assert_eq!(sender.send(&other, 0, &batch).unwrap().copies, 0);
}

#[test]
fn the_manifest_is_never_a_copy() {
    let sender = start(1 << 20);
    let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
    let bytes = vec![5; 3 * PAGE];
    assert!(builder.push_data(1, bytes.len() as u64, 0, &bytes));
    assert!(builder.push_data(0, bytes.len() as u64, 0, &bytes));
    let table = builder.table();
    let batch = Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
    let sent = sender.send(&KEY, 0, &batch).unwrap();
    assert_eq!(sent.copies, 2 * CHUNK);
    let model = BTreeMap::from([(0, bytes.clone()), (1, bytes)]);
    let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
    let mut arrived = spool(1 << 30);
    receive(&stream, &mut arrived).unwrap();
    assert!(image(&arrived) == model);
}

#[test]
fn a_stored_image_travels_once_too() {
    let mut stored = spool(1 << 30);
    let sender = start(1 << 20);
    let ops = [data(1, &[1, 2, 3]), data(3, &[3, 2, 1]), data(2, &[2])];
    let mut model = Model::new();
    for op in &ops {
        send(&sender, 0, std::slice::from_ref(op));
        op.perform(&mut model);
    }
    let (stream, _) = sender.seal(|_| totals(&model)).unwrap();
    receive(&stream, &mut stored).unwrap();

    let again = start(1 << 20);
    let image_there = stored.get(&KEY).unwrap();
    image_there
        .batches(MAX_PAYLOAD, MAX_EXTENTS, |batch| {
            again.send(&KEY, 0, batch).unwrap();
            Ok::<(), xl_gpu_spool::SpoolError>(())
        })
        .unwrap();
    // Of 23 whole chunks, three are different.
    assert_eq!(again.written().elided.copies, 20 * CHUNK);
    let (stream, _) = again.seal(|_| totals(&model)).unwrap();
    let mut arrived = spool(1 << 30);
    receive(&stream, &mut arrived).unwrap();
    assert!(image(&arrived) == model);
}
