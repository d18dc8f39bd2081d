//! What is not sent, and what is not received.

use super::*;
use channel::image::{CopySource, Digest, Extent};
use stream::RecordError;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A sender that is up to something: an octet of a record changed, and its checksum made to fit.
    #[test]
    fn a_changed_octet_with_a_right_checksum_is_refused(
        ops in prop::collection::vec(op(), 1..20), at in any::<Index>(), flip in 1..=255u8,
    ) {
        let (sender, mut model) = (start(1 << 20), Model::new());
        // There are copies in it in any case.
        let ops = [&[data(1, &[1, 2]), data(3, &[1, 2])], &ops[..]].concat();
        for op in &ops {
            send(&sender, 0, std::slice::from_ref(op));
            op.perform(&mut model);
        }
        let (mut stream, written) = sender.seal(|_| totals(&model)).unwrap();
        prop_assert!(written.elided.copies >= 12 * CHUNK);
        receive(&stream, &mut spool(1 << 30)).unwrap();
        let mut records = Vec::new();
        let mut start = 0;
        while start < stream.len() {
            let header = RecordHeader::from_bytes(*stream[start..].first_chunk().unwrap());
            let end = start + RecordHeader::BYTES + header.length as usize;
            if header.record_type == TYPE_DATA {
                records.push(start + RecordHeader::BYTES..end);
            }
            start = end;
        }
        let record = records[at.index(records.len())].clone();
        let body = &mut stream[record];
        let covered = body.len() - 16;
        // The end of the body, where copies' sources and extents stand, is the interesting part.
        let back = at.index(covered.min(400));
        body[covered - 1 - back] ^= flip;
        let checksum = Digest::of(&body[..covered]).to_bytes();
        body[covered..].copy_from_slice(&checksum);
        prop_assert!(receive(&stream, &mut spool(1 << 30)).is_err());
    }
}

#[test]
fn a_guest_s_copies_and_wrong_digests_are_refused() {
    let sender = start(1 << 20);
    let refused = |builder: &BatchBuilder| {
        let limits = BatchLimits {
            copies: true,
            ..BatchLimits::default()
        };
        let table = builder.table();
        let batch = Batch::parse(builder.payload(), &table, &limits).unwrap();
        sender.send(&KEY, 0, &batch).unwrap_err()
    };
    let mut builder = BatchBuilder::new(100, 1);
    let from = CopySource {
        object: 1,
        offset: 0,
    };
    assert!(builder.push_copy(2, 100, 0, 10, Digest::of(b"x"), from));
    let error = refused(&builder);
    assert!(
        matches!(
            error,
            SendError::Batch(BatchError::CopyOutsideStream { object: 2, .. })
        ),
        "{error}"
    );
    let mut builder = BatchBuilder::new(100, 1);
    let extent = Extent::data(1, 10, 0, 5, Digest::of(b"other"));
    assert!(builder.push(extent, b"bytes"));
    let error = refused(&builder);
    assert!(
        matches!(error, SendError::Batch(BatchError::BadDigest { .. })),
        "{error}"
    );
    // Nothing was written, and the stream is as good as before.
    assert_eq!(send(&sender, 0, &[chunk(1, 0, 1)]), Elided::default());
}

#[test]
fn copies_that_make_no_sense_are_refused_with_their_place() {
    let from = |object, offset| CopySource { object, offset };
    let digest = Digest::of(&[7; 20]);
    let refused = |len, digest, source| {
        let mut builder = BatchBuilder::new(1000, 4);
        assert!(builder.push_data(1, 50, 0, &[7; 30]));
        assert!(builder.push_copy(2, 100, 60, len, digest, source));
        let limits = BatchLimits {
            copies: true,
            ..BatchLimits::default()
        };
        let table = builder.table();
        let batch = Batch::parse(builder.payload(), &table, &limits).unwrap();
        let mut writer = RecordWriter::start(Vec::new(), ImageId([1; 16]), &[KEY]).unwrap();
        writer.data(&KEY, 0, &batch).unwrap();
        let objects = Totals {
            objects: 2,
            bytes: 150,
        };
        let (stream, _) = writer.seal(|_| objects).unwrap();
        receive(&stream, &mut spool(1 << 30)).map_err(|e| {
            assert_eq!(e.record, 2);
            assert!(matches!(e.error, RecordError::Sink(_)));
            e.to_string()
        })
    };
    refused(20, digest, from(1, 10)).unwrap();
    for (len, digest, source, says) in [
        (
            20,
            digest,
            from(3, 0),
            "from object 3 at 0, which has 0 bytes",
        ),
        (
            20,
            digest,
            from(2, 0),
            "from object 2 at 0, which has 0 bytes",
        ),
        (
            20,
            digest,
            from(1, 31),
            "from object 1 at 31, which has 50 bytes",
        ),
        (
            20,
            digest,
            from(1, 11),
            "from object 1 at 11, where other bytes stand",
        ),
        (
            19,
            digest,
            from(1, 0),
            "from object 1 at 0, where other bytes stand",
        ),
        (20, Digest::NONE, from(1, 0), "where other bytes stand"),
    ] {
        let error = refused(len, digest, source).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(error.contains("for object 2 at 60"), "{error}");
    }
}

/// Takes so many bytes, then nothing more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_record_that_was_not_written_none_is() {
    let sender = RecordSender::start(Full(200 + PAGE), ImageId([1; 16]), &[KEY]).unwrap();
    let errors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (sender, errors) = (&sender, &errors);
            scope.spawn(move || {
                let mut builder = BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS);
                data(3, &[thread, thread + 10, thread + 20]).build(&mut builder);
                let table = builder.table();
                let batch =
                    Batch::parse(builder.payload(), &table, &BatchLimits::default()).unwrap();
                for _ in 0..3 {
                    errors
                        .lock()
                        .unwrap()
                        .push(sender.send(&KEY, 0, &batch).unwrap_err());
                }
            });
        }
    });
    let errors = errors.lock().unwrap();
    let writes = errors.iter().filter(|e| matches!(e, SendError::Write(_)));
    assert_eq!((writes.count(), errors.len()), (1, 12));
    for error in errors.iter() {
        assert!(error.to_string().contains("no space left"), "{error}");
    }
}
