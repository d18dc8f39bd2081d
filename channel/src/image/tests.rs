//! Property tests: what is built is read back, and what is mutated is refused or still consistent.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::PAGE_SIZE;

#[derive(Clone, Debug)]
enum Op {
    Data {
        object: u64,
        before: u64,
        after: u64,
        bytes: Vec<u8>,
    },
    Zero {
        object: u64,
        before: u64,
        after: u64,
        len: u32,
    },
    Drop {
        object: u64,
    },
    Copy {
        object: u64,
        before: u64,
        len: u32,
        from: CopySource,
    },
}

/// What streams may have.
const STREAM: BatchLimits = BatchLimits {
    max_object_bytes: 1 << 40,
    max_extents: 4096,
    max_data_bytes: 4 << 20,
    copies: true,
};

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        (0..9u64, 0..5000u64, 0..5000u64, bytes).prop_map(|(object, before, after, bytes)| {
            Op::Data {
                object,
                before,
                after,
                bytes,
            }
        }),
        (0..9u64, 0..5000u64, 0..5000u64, 1..u32::MAX).prop_map(|(object, before, after, len)| {
            Op::Zero {
                object,
                before,
                after,
                len,
            }
        }),
        (0..9u64).prop_map(|object| Op::Drop { object }),
        (1..9u64, 0..5000u64, 1..9000u32, 1..9u64, 0..5000u64).prop_map(
            |(object, before, len, from, offset)| Op::Copy {
                object,
                before,
                len,
                from: CopySource {
                    object: from,
                    offset
                },
            }
        ),
    ]
}

/// Builds as many of `ops` as fit and returns what should be read back.
fn build(ops: &[Op], builder: &mut BatchBuilder) -> Vec<(Extent, Vec<u8>)> {
    let mut expected = Vec::new();
    for op in ops {
        let (extent, bytes, fits) = match op {
            Op::Data {
                object,
                before,
                after,
                bytes,
            } => {
                let (len, digest) = (bytes.len() as u32, Digest::of(bytes));
                let size = before + u64::from(len) + after;
                let extent = Extent::data(*object, size, *before, len, digest);
                (
                    extent,
                    bytes.clone(),
                    builder.push_data(*object, size, *before, bytes),
                )
            }
            Op::Zero {
                object,
                before,
                after,
                len,
            } => {
                let size = before + u64::from(*len) + after;
                let extent = Extent::zero(*object, size, *before, *len);
                (
                    extent,
                    vec![],
                    builder.push_zero(*object, size, *before, *len),
                )
            }
            Op::Drop { object } => (
                Extent::drop_object(*object),
                vec![],
                builder.push_drop(*object),
            ),
            Op::Copy {
                object,
                before,
                len,
                from,
            } => {
                let (size, digest) = (before + u64::from(*len), Digest::of(b"any"));
                (
                    Extent::copy(*object, size, *before, *len, digest),
                    from.to_payload().to_vec(),
                    builder.push_copy(*object, size, *before, *len, digest, *from),
                )
            }
        };
        if fits {
            expected.push((extent, bytes));
        }
    }
    expected
}

fn read(batch: &Batch<'_>) -> Vec<(Extent, Vec<u8>)> {
    batch
        .iter()
        .map(|(extent, bytes)| (extent, bytes.to_vec()))
        .collect()
}

proptest! {
    #[test]
    fn a_batch_is_read_back_as_built(ops in prop::collection::vec(op(), 0..60)) {
        let mut builder = BatchBuilder::new(4000, 40);
        let expected = build(&ops, &mut builder);
        prop_assert!(builder.payload().len() <= 4000 && builder.len() <= 40);
        let table = builder.table();
        let batch = Batch::parse(builder.payload(), &table, &STREAM).unwrap();
        prop_assert_eq!(read(&batch), expected);
        prop_assert_eq!(batch.payload(), builder.payload());
        batch.verify_digests().unwrap();
    }

    /// One octet changed anywhere: an error, or extents that still keep every bound, and never changed
    /// data under an unchanged extent.
    #[test]
    fn a_mutated_batch_is_refused_or_in_bounds(
        ops in prop::collection::vec(op(), 1..30),
        place in any::<Index>(),
        flip in 1..=255u8,
    ) {
        let mut builder = BatchBuilder::new(4000, 40);
        let expected = build(&ops, &mut builder);
        let (mut payload, mut table) = (builder.payload().to_vec(), builder.table());
        let at = place.index(payload.len() + table.len());
        match at.checked_sub(payload.len()) {
            None => payload[at] ^= flip,
            Some(at) => table[at] ^= flip,
        }
        let limits = BatchLimits { max_object_bytes: 1 << 33, ..STREAM };
        if let Ok(batch) = Batch::parse(&payload, &table, &limits) {
            for (extent, bytes) in batch.iter() {
                prop_assert_eq!(bytes.len(), extent.payload_bytes());
                prop_assert!(extent.offset + u64::from(extent.len) <= extent.object_size);
                prop_assert!(extent.object_size <= limits.max_object_bytes);
                if extent.kind == ExtentKind::Copy {
                    let from = CopySource::from_payload(bytes).unwrap();
                    prop_assert!(from.object != 0 && extent.object != 0);
                    prop_assert!(from.offset + u64::from(extent.len) <= limits.max_object_bytes);
                }
            }
            if batch.verify_digests().is_ok() {
                for (found, built) in read(&batch).iter().zip(&expected) {
                    // A copy's digest is that of bytes which are not here.
                    let here = found.0.kind != ExtentKind::Copy;
                    prop_assert!(!here || found.0 != built.0 || found.1 == built.1);
                }
            }
        }
    }

    #[test]
    fn noise_never_panics(payload in prop::collection::vec(any::<u8>(), 0..300),
                          table in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(batch) = Batch::parse(&payload, &table, &STREAM) {
            prop_assert!(batch.payload().len() <= payload.len());
            let _ = batch.verify_digests();
        }
    }

    #[test]
    fn session_ids_have_one_spelling(id in any::<[u8; 16]>()) {
        let text = SessionId(id).to_string();
        prop_assert_eq!(text.len(), 32);
        prop_assert_eq!(text.parse(), Ok(SessionId(id)));
        prop_assert!(text.to_uppercase() == text || text.to_uppercase().parse::<SessionId>().is_err());
    }
}

fn parse_one(extent: RawExtent, payload: &[u8]) -> Result<(), BatchError> {
    use zerocopy::IntoBytes;
    let limits = BatchLimits {
        max_object_bytes: 1000,
        max_extents: 4,
        max_data_bytes: 100,
        copies: true,
    };
    Batch::parse(payload, extent.as_bytes(), &limits).map(|_| ())
}

#[test]
fn each_rule_has_its_error() {
    let payload = [7u8; 64];
    let good = Extent::data(3, 1000, 936, 64, Digest::of(&payload)).to_wire();
    parse_one(good, &payload).unwrap();

    let with = |change: fn(&mut RawExtent)| {
        let mut raw = good;
        change(&mut raw);
        parse_one(raw, &payload).unwrap_err()
    };
    assert!(matches!(
        with(|e| e.kind = 4.into()),
        BatchError::UnknownKind { kind: 4, .. }
    ));
    assert!(matches!(
        with(|e| e.object_size = 1001.into()),
        BatchError::ObjectTooLarge { .. }
    ));
    assert!(matches!(
        with(|e| e.len = 0.into()),
        BatchError::Empty { .. }
    ));
    assert!(matches!(
        with(|e| e.len = 101.into()),
        BatchError::TooLong { .. }
    ));
    assert!(matches!(
        with(|e| e.offset = 937.into()),
        BatchError::OutsideObject { .. }
    ));
    assert!(matches!(
        with(|e| e.offset = u64::MAX.into()),
        BatchError::OutsideObject { .. }
    ));
    assert!(matches!(
        with(|e| e.kind = 1.into()),
        BatchError::NotZero { .. }
    ));
    assert!(matches!(
        with(|e| e.kind = 2.into()),
        BatchError::NotZero { .. }
    ));
    assert!(matches!(
        parse_one(good, &payload[..63]),
        Err(BatchError::OutsidePayload { .. })
    ));
    assert!(matches!(
        Batch::parse(&payload, &[0; 47], &BatchLimits::default()),
        Err(BatchError::TornTable(47))
    ));
    let limits = BatchLimits {
        max_extents: 1,
        ..BatchLimits::default()
    };
    assert!(matches!(
        Batch::parse(&payload, &[0; 96], &limits),
        Err(BatchError::TooManyExtents { count: 2, limit: 1 })
    ));
}

#[test]
fn a_copy_names_a_place_that_could_be() {
    let at = |object, offset| CopySource { object, offset }.to_payload();
    let copy = |object, len| Extent::copy(object, 1000, 40, len, Digest::of(b"bytes")).to_wire();
    parse_one(copy(3, 100), &at(3, 900)).unwrap();
    assert!(matches!(
        parse_one(copy(3, 100), &at(3, 901)),
        Err(BatchError::CopySource {
            object: 3,
            from_object: 3,
            from_offset: 901,
            ..
        })
    ));
    assert!(matches!(
        parse_one(copy(3, 100), &at(3, u64::MAX - 50)),
        Err(BatchError::CopySource { .. })
    ));
    for (target, source) in [(0, 3), (3, 0)] {
        assert_eq!(
            parse_one(copy(target, 100), &at(source, 0)),
            Err(BatchError::CopyOfManifest { index: 0 })
        );
    }
    assert!(matches!(
        parse_one(copy(3, 101), &at(3, 0)),
        Err(BatchError::TooLong { len: 101, .. })
    ));
    assert!(matches!(
        parse_one(copy(3, 0), &at(3, 0)),
        Err(BatchError::Empty { .. })
    ));
    assert!(matches!(
        parse_one(copy(3, 100), &at(3, 0)[..15]),
        Err(BatchError::OutsidePayload { end: 16, .. })
    ));
}

#[test]
fn a_slot_carries_no_copy() {
    use zerocopy::IntoBytes;
    let table = Extent::copy(3, 1000, 40, 8, Digest::NONE).to_wire();
    let payload = CopySource {
        object: 3,
        offset: 0,
    };
    let error = Batch::parse(
        &payload.to_payload(),
        table.as_bytes(),
        &BatchLimits::default(),
    )
    .unwrap_err();
    assert_eq!(
        error,
        BatchError::CopyOutsideStream {
            index: 0,
            object: 3
        }
    );
}

#[test]
fn a_changed_byte_fails_the_digest() {
    let mut builder = BatchBuilder::new(100, 2);
    assert!(builder.push_data(1, 10, 0, b"0123456789"));
    let (mut payload, table) = (builder.payload().to_vec(), builder.table());
    payload[4] = b'x';
    let error = Batch::parse(&payload, &table, &BatchLimits::default())
        .unwrap()
        .verify_digests();
    assert_eq!(
        error,
        Err(BatchError::BadDigest {
            index: 0,
            object: 1,
            offset: 0,
            len: 10
        })
    );
}

#[test]
fn a_slot_is_filled_through_its_layout() {
    let payload_bytes = 2 * PAGE_SIZE;
    let mut memory = vec![0u8; 3 * PAGE_SIZE];
    let mut layout = BatchLayout::new(payload_bytes, 85);
    let first = layout
        .push(Extent::data(1, 13, 0, 13, Digest::NONE))
        .unwrap();
    let second = layout
        .push(Extent::data(2, 8176, 0, 8176, Digest::NONE))
        .unwrap();
    assert_eq!((first.start, second.start), (0, 16));
    assert_eq!(
        (
            layout.room(),
            layout.push(Extent::data(3, 1, 0, 1, Digest::NONE))
        ),
        (0, None)
    );

    // The bytes arrive after the plan was made.
    memory[..13].copy_from_slice(b"hello, world!");
    memory[16..8192].fill(9);
    layout.set_digest(first.index, Digest::of(&memory[..13]));
    layout.set_digest(second.index, Digest::of(&memory[16..8192]));
    let table = layout.table();
    memory[payload_bytes..][..table.len()].copy_from_slice(&table);

    let (payload, table_pages) = memory.split_at(payload_bytes);
    let table = &table_pages[..2 * EXTENT_BYTES];
    let batch = Batch::parse(payload, table, &BatchLimits::default()).unwrap();
    batch.verify_digests().unwrap();
    assert_eq!(batch.iter().next().unwrap().1, b"hello, world!");
}

#[test]
fn the_digest_is_standard_xxh3_128() {
    // Published test vector: XXH3-128 of the empty input, seed 0.
    assert_eq!(
        Digest::of(b"").to_string(),
        "99aa06d3014798d86001c324468d497f"
    );
    let mut stream = DigestStream::new();
    stream.update(b"ab");
    stream.update(b"c");
    assert_eq!(stream.digest(), Digest::of(b"abc"));
}

#[test]
fn a_manifest_is_checked_against_its_image() {
    let buffer = |id: u64, bytes| BufferEntry {
        id: id.into(),
        bytes,
    };
    // The same number as another API's object.
    let cuda = ObjectId::new(Api::CUDA, 1);
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        minor: MANIFEST_MINOR,
        program: "nbody".into(),
        pid: 77,
        generation: 4,
        devices: vec![DeviceEntry {
            api: Api::CUDA,
            name: "GPU".into(),
            vendor: String::new(),
            driver: "1".into(),
        }],
        buffers: vec![buffer(1, 64), buffer(2, 8), buffer(cuda.into(), 8)],
    };
    let bytes = manifest.to_bytes().unwrap();
    assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
    assert_eq!(
        Vec::from_iter(manifest.by_api()),
        [(Api::OPENCL, (2, 72)), (Api::CUDA, (1, 8))]
    );
    manifest
        .check(4, [(0, bytes.len() as u64), (1, 64)])
        .unwrap();
    assert!(matches!(
        manifest.check(5, []),
        Err(ManifestError::Generation { .. })
    ));
    assert!(matches!(
        manifest.check(4, [(3, 64)]),
        Err(ManifestError::Unlisted(3))
    ));
    assert!(matches!(
        manifest.check(4, [(2, 64)]),
        Err(ManifestError::Size { object: 2, .. })
    ));

    let parse = |text: &str| Manifest::parse(text.as_bytes());
    assert!(matches!(
        parse(r#"{"version":2,"anything":[]}"#),
        Err(ManifestError::Version(2))
    ));
    assert!(matches!(parse("{"), Err(ManifestError::Json(_))));
    let twice = r#"{"version":1,"program":"p","pid":1,"generation":1,
                    "buffers":[{"id":1,"bytes":2},{"id":1,"bytes":2}]}"#;
    assert!(matches!(parse(twice), Err(ManifestError::BadBuffer(1))));
}

#[test]
fn a_manifest_of_another_minor_version_is_read() {
    let parse = |text: &str| Manifest::parse(text.as_bytes()).unwrap();
    let old = parse(
        r#"{"version":1,"program":"p","pid":1,"generation":1,
            "devices":[{"name":"GPU"}],"buffers":[{"id":1,"bytes":2}]}"#,
    );
    assert_eq!((old.minor, old.devices[0].api), (0, Api::OPENCL));
    assert_eq!(Vec::from_iter(old.by_api()), [(Api::OPENCL, (1, 2))]);
    // An API that is not known, and members of a later minor version.
    let new = parse(
        r#"{"version":1,"minor":9,"program":"p","pid":1,"generation":1,"news":[],
            "devices":[{"name":"GPU","api":200,"color":"red"}],
            "buffers":[{"id":14411518807585587201,"bytes":2}]}"#,
    );
    let id = new.buffers[0].id;
    assert_eq!(id, ObjectId::new(Api(200), 1));
    assert_eq!((id.api(), id.number()), (new.devices[0].api, 1));
    assert_eq!(id.to_string(), "1 of API 200");
}
