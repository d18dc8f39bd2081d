//! Streams written and read back, cut, mutated and mixed up.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::io::{self, Cursor, ErrorKind, IoSlice, Write};
use std::sync::Arc;

use channel::image::{Batch, BatchBuilder, BatchLimits, Extent, ExtentKind, SessionId, SessionKey};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// libxc's END, the foreign header that ends a stretch of GPU records here.
const END: RecordHeader = RecordHeader {
    record_type: 0,
    length: 0,
};

/// Keeps images as plain vectors: the simplest thing that could be right.
#[derive(Default, Debug, PartialEq, Clone)]
struct Plain(BTreeMap<SessionKey, BTreeMap<u64, Vec<u8>>>);

impl ImageSink for Plain {
    type Error = Infallible;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), Infallible> {
        self.0 = sessions.iter().map(|key| (*key, BTreeMap::new())).collect();
        Ok(())
    }

    fn apply(
        &mut self,
        key: &SessionKey,
        _: u32,
        e: &Extent,
        bytes: &[u8],
    ) -> Result<(), Infallible> {
        let image = self.0.get_mut(key).expect("announced");
        if e.kind == ExtentKind::Drop {
            image.remove(&e.object);
            return Ok(());
        }
        let object = image.entry(e.object).or_default();
        object.resize(e.object_size as usize, 0);
        let run = &mut object[e.offset as usize..][..e.len as usize];
        match e.kind {
            ExtentKind::Data => run.copy_from_slice(bytes),
            _ => run.fill(0),
        }
        Ok(())
    }

    fn totals(&self, key: &SessionKey) -> Totals {
        let objects = &self.0[key];
        let bytes = objects.values().map(|object| object.len() as u64).sum();
        Totals {
            objects: objects.len() as u64,
            bytes,
        }
    }
}

fn key(n: u8) -> SessionKey {
    SessionKey {
        session: SessionId([n; 16]),
        generation: u64::from(n),
    }
}

/// One record: session (0 or 1), round, and runs of objects of 64 bytes.
type Content = (u8, u32, Vec<(u64, u8, Vec<u8>)>);

fn content() -> impl Strategy<Value = Vec<Content>> {
    let run = (0..4u64, 0..24u8, prop::collection::vec(any::<u8>(), 1..40));
    prop::collection::vec((0..2u8, 0..3u32, prop::collection::vec(run, 0..6)), 0..8)
}

/// Writes `records` into `to`; also returns what a receiver should end up with.
fn write<W: Write>(to: W, records: &[Content]) -> Result<(W, Written, Plain), WriteError> {
    let mut model = Plain::default();
    let Ok(()) = model.begin(&[key(0), key(1)]);
    let mut writer = RecordWriter::start(to, ImageId([9; 16]), &[key(0), key(1)])?;
    for (session, round, runs) in records {
        let mut builder = BatchBuilder::new(4096, 64);
        for (object, offset, bytes) in runs {
            let fits = match bytes[0] {
                0..20 => builder.push_drop(*object),
                20..60 => builder.push_zero(*object, 64, u64::from(*offset), bytes.len() as u32),
                _ => builder.push_data(*object, 64, u64::from(*offset), bytes),
            };
            assert!(fits);
        }
        let table = builder.table();
        let batch =
            Batch::parse(builder.payload(), &table, &BatchLimits::default()).expect("own batch");
        for (extent, bytes) in batch.iter() {
            let Ok(()) = model.apply(&key(*session), *round, &extent, bytes);
        }
        writer.data(&key(*session), *round, &batch)?;
    }
    let (to, written) = writer.seal(|key| model.totals(key))?;
    Ok((to, written, model))
}

fn stream(records: &[Content]) -> (Vec<u8>, Plain) {
    let (mut bytes, written, model) = write(Vec::new(), records).unwrap();
    assert_eq!(written.stream_bytes, bytes.len() as u64);
    bytes.extend(END.to_bytes());
    (bytes, model)
}

fn receive(bytes: &[u8]) -> Result<(Option<Sealed>, Plain, usize), StreamError> {
    let (mut from, mut sink) = (Cursor::new(bytes), Plain::default());
    let mut receiver = Receiver::new(StreamLimits {
        max_object_bytes: 64,
    });
    let first = receiver.reader().read_header(&mut from)?;
    let foreign = receiver.records(&mut from, first, &mut sink)?;
    assert!(!is_gpu_type(foreign.record_type));
    let at = from.position() as usize;
    Ok((receiver.finish()?, sink, at))
}

fn sample() -> Vec<Content> {
    let run = |object, offset, bytes: &[u8]| (object, offset, bytes.to_vec());
    vec![
        (0, 0, vec![run(1, 0, &[200; 33]), run(2, 8, &[100; 9])]),
        (1, 0, vec![run(1, 3, &[77; 5])]),
        (0, STOP_ROUND, vec![run(2, 0, &[5]), run(1, 1, &[30; 7])]),
    ]
}

proptest! {
    #[test]
    fn a_stream_is_received_as_written(records in content()) {
        let (bytes, model) = stream(&records);
        let (sealed, sink, read) = receive(&bytes).unwrap();
        prop_assert_eq!(sink, model);
        prop_assert_eq!(read, bytes.len());
        prop_assert_eq!(sealed.unwrap().records, records.len() as u64);
    }

    /// Any octet changed: refused, or (in the type of the first record) not a GPU stream at all.
    #[test]
    fn a_changed_octet_is_never_accepted(records in content(), at in any::<Index>(), flip in 1..=255u8) {
        let (mut bytes, _) = stream(&records);
        let gpu_bytes = bytes.len() - RecordHeader::BYTES;
        bytes[at.index(gpu_bytes)] ^= flip;
        if let Ok((sealed, sink, _)) = receive(&bytes) {
            prop_assert_eq!(sealed, None);
            prop_assert_eq!(sink, Plain::default());
        }
    }

    #[test]
    fn a_cut_stream_is_never_sealed(records in content(), at in any::<Index>()) {
        let (bytes, _) = stream(&records);
        let error = receive(&bytes[..at.index(bytes.len())]).unwrap_err();
        prop_assert!(matches!(error.error, RecordError::Truncated), "{}", error);
    }

    #[test]
    fn records_in_another_order_are_refused(records in content(), a in any::<Index>(), b in any::<Index>()) {
        let (bytes, _) = stream(&records);
        let mut parts = split(&bytes);
        let (a, b) = (a.index(parts.len()), b.index(parts.len()));
        parts.swap(a, b);
        let mixed = parts.concat();
        prop_assume!(mixed != bytes);
        match receive(&mixed) {
            // END came first: nothing of ours in front of it.
            Ok((None, _, 8)) => {}
            other => prop_assert!(other.is_err()),
        }
    }

    #[test]
    fn noise_after_a_header_never_panics(
        kind in prop::sample::select(vec![TYPE_HEAD, TYPE_DATA, TYPE_SEAL, 0x4750_5501, 0xC750_55FF]),
        length in prop_oneof![0..400u32, any::<u32>()],
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut reader = RecordReader::new(StreamLimits::default());
        let header = RecordHeader { record_type: kind, length };
        prop_assert!(reader.read_body(&mut &bytes[..], header).is_err() || kind == TYPE_SEAL);
    }
}

/// Cuts a stream into its records.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some(header) = bytes.first_chunk() {
        let (part, rest) = bytes.split_at(8 + RecordHeader::from_bytes(*header).length as usize);
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts
}

fn refused(parts: &[Vec<u8>]) -> StreamError {
    receive(&parts.concat()).unwrap_err()
}

#[test]
fn errors_name_record_offset_and_cause() {
    let (bytes, _) = stream(&sample());
    let parts = split(&bytes);
    assert_eq!(parts.len(), 6);

    let mut corrupt = parts.clone();
    corrupt[2][50] ^= 1;
    let error = refused(&corrupt);
    assert_eq!(
        (error.record, error.offset),
        (3, (parts[0].len() + parts[1].len()) as u64)
    );
    assert!(matches!(error.error, RecordError::Checksum { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("GPU record 3 (DATA) at byte {} ", error.offset)),
        "{text}"
    );

    assert!(matches!(
        refused(&parts[1..]).error,
        RecordError::BeforeHead
    ));
    assert!(matches!(
        refused(&[&parts[..1], &parts[..1]].concat()).error,
        RecordError::SecondHead
    ));
    let mut unsealed = parts.clone();
    unsealed.remove(4);
    assert!(matches!(refused(&unsealed).error, RecordError::NotSealed));
    let mut lost = parts.clone();
    lost.remove(2);
    let error = refused(&lost);
    assert!(
        matches!(
            error.error,
            RecordError::Seal {
                field: SealField::RecordCount,
                ..
            }
        ),
        "{error}"
    );
    let mut late = parts.clone();
    late.swap(4, 3);
    assert!(matches!(refused(&late).error, RecordError::Seal { .. }));
    let mut after = parts.clone();
    after.insert(5, parts[1].clone());
    assert!(matches!(refused(&after).error, RecordError::AfterSeal));

    let mut newer = parts.clone();
    newer[0][16] = 2;
    assert!(matches!(refused(&newer).error, RecordError::Version(2)));
    let mut huge = parts.clone();
    huge[1][4..8].copy_from_slice(&0xFFFF_FFF8u32.to_le_bytes());
    assert!(matches!(refused(&huge).error, RecordError::Length { .. }));
}

#[test]
fn a_stranger_session_and_a_wrong_total_are_refused() {
    let own = |sessions: &[SessionKey], totals: Totals| {
        let mut builder = BatchBuilder::new(64, 1);
        assert!(builder.push_data(1, 8, 0, b"contents"));
        let table = builder.table();
        let batch = Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
        let mut writer = RecordWriter::start(Vec::new(), ImageId([1; 16]), sessions).unwrap();
        writer.data(&sessions[0], 0, &batch).unwrap();
        let (mut bytes, _) = writer.seal(|_| totals).unwrap();
        bytes.extend(END.to_bytes());
        bytes
    };
    let right = Totals {
        objects: 1,
        bytes: 8,
    };
    receive(&own(&[key(1)], right)).unwrap();
    let error = receive(&own(
        &[key(1)],
        Totals {
            objects: 1,
            bytes: 9,
        },
    ))
    .unwrap_err();
    assert!(
        matches!(
            error.error,
            RecordError::Seal {
                field: SealField::Bytes(_),
                ..
            }
        ),
        "{error}"
    );

    // HEAD of one stream, the rest of another.
    let (one, two) = (split(&own(&[key(1)], right)), split(&own(&[key(2)], right)));
    let error = refused(&[&one[..1], &two[1..]].concat());
    assert!(
        matches!(error.error, RecordError::UnknownSession(k) if k == key(2)),
        "{error}"
    );
}

#[test]
fn a_stream_without_gpu_records_is_nobodys_error() {
    let (sealed, sink, read) = receive(&END.to_bytes()).unwrap();
    assert_eq!((sealed, sink, read), (None, Plain::default(), 8));
}

/// Accepts `room` bytes in short writes, then fails with `kind`.
struct Failing {
    taken: Vec<u8>,
    room: usize,
    kind: ErrorKind,
}

impl Write for Failing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = buf.len().min(self.room - self.taken.len()).min(7);
        if count == 0 {
            return Err(self.kind.into());
        }
        self.taken.extend_from_slice(&buf[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(
            bufs.iter()
                .find(|buf| !buf.is_empty())
                .map_or(&[], |buf| buf),
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn short_writes_make_the_same_stream() {
    let (whole, _) = stream(&sample());
    let to = Failing {
        taken: Vec::new(),
        room: usize::MAX,
        kind: ErrorKind::Other,
    };
    let (to, ..) = write(to, &sample()).unwrap();
    assert_eq!(to.taken, whole[..whole.len() - 8]);
}

#[test]
fn every_failure_says_whether_the_stream_is_torn() {
    let (whole, _) = stream(&sample());
    let mut boundaries = HashSet::from([0]);
    let mut at = 0;
    for part in split(&whole) {
        at += part.len();
        boundaries.insert(at);
    }
    for room in 0..whole.len() - 8 {
        let to = Failing {
            taken: Vec::new(),
            room,
            kind: ErrorKind::BrokenPipe,
        };
        let error = write(to, &sample()).map(|_| ()).unwrap_err();
        assert!(matches!(error.cause, WriteCause::Disconnected), "{error}");
        assert_eq!(
            error.at_boundary(),
            boundaries.contains(&room),
            "{room}: {error}"
        );
    }
}

#[test]
fn a_torn_stream_takes_no_more_records() {
    let mut builder = BatchBuilder::new(64, 1);
    assert!(builder.push_zero(1, 8, 0, 8));
    let table = builder.table();
    let batch = Batch::parse(&[], &table, &BatchLimits::default()).unwrap();
    let head = 8 + 32 + 24;
    let to = Failing {
        taken: Vec::new(),
        room: head + 20,
        kind: ErrorKind::StorageFull,
    };
    let mut writer = RecordWriter::start(to, ImageId([0; 16]), &[key(1)]).unwrap();
    let error = writer.data(&key(1), 0, &batch).unwrap_err();
    assert!(
        matches!(error.cause, WriteCause::NoSpace) && error.written == 20,
        "{error}"
    );
    assert!(writer.is_torn());
    let error = writer.seal(|_| Totals::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error.cause, WriteCause::Torn) && !error.at_boundary());
}

#[test]
fn a_nonblocking_pipe_carries_a_stream() {
    use rustix::fs::{OFlags, fcntl_setfl};
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    fcntl_setfl(&reader, OFlags::NONBLOCK).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    // More than a pipe holds, so that both sides have to wait.
    let records: Vec<Content> = (0..400u32)
        .map(|n| {
            (
                0,
                0,
                vec![(u64::from(n % 4), 0, vec![n as u8 | 64; 39]); 12],
            )
        })
        .collect();
    let expected = stream(&records);
    assert!(expected.0.len() > 256 << 10);
    let sender = std::thread::spawn(move || {
        let (mut to, ..) =
            write(StreamEnd::new(writer, Arc::default()).unwrap(), &records).unwrap();
        to.write_all(&END.to_bytes()).unwrap();
    });
    let (mut from, mut sink) = (
        StreamEnd::new(reader, Arc::default()).unwrap(),
        Plain::default(),
    );
    let mut receiver = Receiver::new(StreamLimits::default());
    let first = receiver.reader().read_header(&mut from).unwrap();
    assert_eq!(receiver.records(&mut from, first, &mut sink).unwrap(), END);
    sender.join().unwrap();
    assert_eq!(sink, expected.1);
    assert!(receiver.finish().unwrap().is_some());
}
