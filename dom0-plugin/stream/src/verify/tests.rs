//! Saved domains put together by hand after Xen's specifications.

use channel::image::{
    Api, Batch, BatchBuilder, BatchLimits, BufferEntry, CopySource, Digest, MANIFEST_MINOR,
    MANIFEST_VERSION, Manifest, ManifestError, ObjectId, SessionId, SessionKey,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::{ImageId, NOTICE_OBJECT, RecordError, RecordWriter, STOP_ROUND, Totals};

const KEY: SessionKey = SessionKey {
    session: SessionId([0xAB; 16]),
    generation: 3,
};

fn record(record_type: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(record_type.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn manifest(buffer_bytes: u64) -> Manifest {
    Manifest {
        version: MANIFEST_VERSION,
        minor: MANIFEST_MINOR,
        program: "nbody\x1b[2J".into(),
        pid: 42,
        generation: KEY.generation,
        devices: vec![],
        buffers: vec![BufferEntry {
            id: 1.into(),
            bytes: buffer_bytes,
        }],
    }
}

/// GPU records in two stretches: HEAD with a pre-copy round, and the stop-and-copy with SEAL.
fn gpu_records(manifest: &Manifest) -> (Vec<u8>, Vec<u8>) {
    copying_from(manifest, 15)
}

/// In the stop-and-copy 20 bytes of the buffer are copied from this offset of it.
fn copying_from(manifest: &Manifest, from: u64) -> (Vec<u8>, Vec<u8>) {
    with_notice(manifest, from, None)
}

/// And with a notice before all that.
fn with_notice(manifest: &Manifest, from: u64, notice: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let manifest = manifest.to_bytes().unwrap();
    let mut writer = RecordWriter::start(Vec::new(), ImageId([1; 16]), &[KEY]).unwrap();
    let mut send = |round, fill: &dyn Fn(&mut BatchBuilder) -> bool| {
        let mut builder = BatchBuilder::new(4096, 8);
        assert!(fill(&mut builder));
        let table = builder.table();
        let limits = BatchLimits {
            copies: true,
            ..BatchLimits::default()
        };
        let batch = Batch::parse(builder.payload(), &table, &limits).unwrap();
        writer.data(&KEY, round, &batch).unwrap();
        writer.written().stream_bytes as usize
    };
    if let Some(notice) = notice {
        let size = notice.len() as u64;
        send(0, &|b| b.push_data(NOTICE_OBJECT, size, 0, notice));
        send(0, &|b| b.push_drop(NOTICE_OBJECT));
    }
    let first = send(0, &|b| {
        b.push_data(1, 100, 0, &[7; 40]) && b.push_zero(1, 100, 40, 60)
    });
    send(STOP_ROUND, &|b| {
        let drop = b.push_drop(0) && b.push_data(1, 100, 8, b"new");
        let source = CopySource {
            object: 1,
            offset: from,
        };
        let copy = b.push_copy(1, 100, 60, 20, Digest::of(&[7; 20]), source);
        drop && copy && b.push_data(0, manifest.len() as u64, 0, &manifest)
    });
    let totals = Totals {
        objects: 2,
        bytes: 100 + manifest.len() as u64,
    };
    let (bytes, _) = writer.seal(|_| totals).unwrap();
    (bytes[..first].to_vec(), bytes[first..].to_vec())
}

fn libxc(gpu: Option<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let (precopy, stop) = gpu.unwrap_or_default();
    let mut bytes = vec![0xFF; 8];
    bytes.extend(b"XENF\0\0\0\x03\0\0\0\0\0\0\0\0");
    for field in [1u32, 12, 4, 17] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(record(0x10, &[]));
    bytes.extend(precopy);
    bytes.extend(record(1, &[0x55; 8203]));
    bytes.extend(stop);
    bytes.extend(record(0x8000_0001, b"an optional one"));
    bytes.extend(record(0, &[]));
    bytes
}

fn libxl(libxc: &[u8]) -> Vec<u8> {
    let mut bytes = b"LibxlFmt\0\0\0\x02\0\0\0\0".to_vec();
    bytes.extend(record(1, &[]));
    bytes.extend(libxc);
    bytes.extend(record(2, &[0; 13]));
    bytes.extend(record(0, &[]));
    bytes
}

fn xl_save(libxl: &[u8]) -> Vec<u8> {
    let config = b"{\"c_info\":{\"type\":\"pv\",\"name\":\"gpu1\"},\"b_info\":{}}\0";
    let mut bytes = b"Xen saved domain, xl format\n \0 \r".to_vec();
    for field in [
        0x0102_0304,
        3,
        0,
        4 + config.len() as u32,
        config.len() as u32,
    ] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(config);
    bytes.extend(libxl);
    bytes
}

fn with_gpu() -> Vec<u8> {
    libxc(Some(gpu_records(&manifest(100))))
}

fn refused(bytes: &[u8]) -> VerifyError {
    verify(bytes).unwrap_err()
}

#[test]
fn a_notice_leaves_nothing_behind() {
    let records = with_notice(&manifest(100), 15, Some(b"{\"chips\":[]}"));
    let report = verify(&libxc(Some(records))[..]).unwrap();
    let session = &report.gpu.unwrap().sessions[0];
    assert_eq!(session.objects, 2);
}

#[test]
fn every_container_is_walked_to_its_end() {
    let libxc = with_gpu();
    let libxl = libxl(&libxc);
    let xl = xl_save(&libxl);
    let reports = [&xl, &libxl, &libxc].map(|bytes| verify(&bytes[..]).unwrap());
    assert_eq!(
        reports.each_ref().map(|r| r.container),
        [Container::XlSave, Container::Libxl, Container::Libxc]
    );
    assert_eq!(
        reports.each_ref().map(|r| r.stream_bytes as usize),
        [xl.len(), libxl.len(), libxc.len()]
    );
    assert_eq!(reports[0].domain.as_deref(), Some("gpu1"));
    for report in &reports {
        let libxc_report = report.libxc.as_ref().unwrap();
        assert_eq!(
            (libxc_report.xen.as_str(), libxc_report.guest.as_str()),
            ("4.17", "x86 PV")
        );
        assert_eq!(
            (libxc_report.records, libxc_report.bytes as usize),
            (4, libxc.len())
        );
        assert_eq!((&report.gpu, report.trailing_bytes), (&reports[0].gpu, 0));
    }
    let gpu = reports[0].gpu.as_ref().unwrap();
    assert_eq!((gpu.data_records, gpu.sessions.len()), (2, 1));
    let session = &gpu.sessions[0];
    assert_eq!(session.manifest.as_ref(), Some(&manifest(100)));
    let size = manifest(100).to_bytes().unwrap().len() as u64;
    assert_eq!((session.objects, session.bytes), (2, 100 + size));
    assert_eq!(
        session.rounds,
        [
            RoundCounts {
                round: Some(0),
                extents: 2,
                data_bytes: 40,
                zero_bytes: 60,
                copy_bytes: 0
            },
            RoundCounts {
                round: None,
                extents: 4,
                data_bytes: 3 + size,
                zero_bytes: 0,
                copy_bytes: 20
            },
        ]
    );
}

#[test]
fn a_recorded_migration_ends_with_the_handshake() {
    let mut bytes = xl_save(&libxl(&with_gpu()));
    let stream_bytes = bytes.len() as u64;
    bytes.extend(b"domain is yours, you are cleared to unpause");
    let report = verify(&bytes[..]).unwrap();
    assert_eq!(
        (report.stream_bytes, report.trailing_bytes),
        (stream_bytes, 43)
    );
}

#[test]
fn a_domain_without_gpu_records_is_reported_as_such() {
    let report = verify(&xl_save(&libxl(&libxc(None)))[..]).unwrap();
    assert_eq!(report.gpu, None);
    assert!(report.to_string().ends_with("no GPU records\n"), "{report}");
}

#[test]
fn the_text_names_programs_and_rounds_and_controls_no_terminal() {
    let text = verify(&xl_save(&libxl(&with_gpu()))[..])
        .unwrap()
        .to_string();
    for part in [
        "domain \"gpu1\"",
        "nbody",
        "process 42",
        "round 0: 40 bytes sent, 60 zero",
        "stop-and-copy: ",
        "20 by reference",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn the_text_tells_apis_apart() {
    let mut manifest = manifest(100);
    for api in [Api::CUDA, Api(77)] {
        let id = ObjectId::new(api, 1);
        manifest.buffers.push(BufferEntry { id, bytes: 8 });
    }
    let text = verify(&libxc(Some(gpu_records(&manifest)))[..]).unwrap();
    let text = text.to_string();
    for part in ["OpenCL: 1 buffers, 100 bytes", "CUDA: 1 ", "API 77: 1 "] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn the_report_is_json() {
    let report = verify(&xl_save(&libxl(&with_gpu()))[..]).unwrap();
    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["container"], "xl-save");
    let session = &json["gpu"]["sessions"][0];
    assert_eq!(session["session"], "abababababababababababababababab");
    assert_eq!(session["manifest"]["pid"], 42);
    assert_eq!(session["rounds"][1]["round"], serde_json::Value::Null);
}

#[test]
fn a_corrupted_gpu_record_is_named_with_its_place_in_the_file() {
    let (precopy, stop) = gpu_records(&manifest(100));
    let clean = xl_save(&libxl(&libxc(Some((precopy.clone(), stop.clone())))));
    let find = |part: &[u8]| {
        clean
            .windows(part.len())
            .position(|window| window == part)
            .unwrap()
    };
    let start = find(&stop);
    let mut bytes = clean.clone();
    bytes[start + 60] ^= 0x10;
    let error = refused(&bytes);
    assert_eq!(error.offset, start as u64);
    let VerifyFault::Gpu(gpu) = &error.fault else {
        panic!("{error}")
    };
    assert_eq!((gpu.record, gpu.offset), (3, start as u64));
    assert!(matches!(gpu.error, RecordError::Checksum { .. }), "{error}");

    // All of the GPU part's second stretch gone: noticed at END.
    let error = refused(&xl_save(&libxl(&libxc(Some((precopy, vec![]))))));
    assert!(
        matches!(&error.fault, VerifyFault::Gpu(e) if matches!(e.error, RecordError::NotSealed)),
        "{error}"
    );
}

#[test]
fn a_manifest_that_does_not_fit_is_an_error() {
    let error = refused(&libxc(Some(gpu_records(&manifest(99)))));
    let VerifyFault::Manifest { key, error: why } = &error.fault else {
        panic!("{error}")
    };
    assert_eq!(*key, KEY);
    assert!(
        matches!(
            why,
            ManifestError::Size {
                object: 1,
                image: 100,
                manifest: 99
            }
        ),
        "{why}"
    );
    let other = Manifest {
        generation: 4,
        ..manifest(100)
    };
    let error = refused(&libxc(Some(gpu_records(&other))));
    assert!(
        matches!(error.fault, VerifyFault::Manifest { .. }),
        "{error}"
    );
}

#[test]
fn a_copy_of_what_is_not_there_is_an_error() {
    verify(&libxc(Some(copying_from(&manifest(100), 80)))[..]).unwrap();
    let error = refused(&libxc(Some(copying_from(&manifest(100), 81))));
    let VerifyFault::Gpu(gpu) = &error.fault else {
        panic!("{error}")
    };
    assert!(matches!(gpu.error, RecordError::Sink(_)), "{error}");
    let says =
        "20 bytes for object 1 at 60 are to be copied from object 1 at 81, which has 100 bytes";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn unknown_layers_are_refused() {
    assert!(matches!(
        refused(b"#!/bin/sh\nexit 0\n").fault,
        VerifyFault::NotAStream(_)
    ));
    let change = |mut bytes: Vec<u8>, at: usize, to: u8| {
        bytes[at] = to;
        refused(&bytes)
    };
    let (libxc, libxl) = (with_gpu(), libxl(&with_gpu()));
    let xl = xl_save(&libxl);
    assert!(matches!(
        change(xl.clone(), 36, 0x13).fault,
        VerifyFault::XlHeader(_)
    ));
    assert!(matches!(
        change(xl.clone(), 32, 1).fault,
        VerifyFault::XlHeader(_)
    ));
    assert!(matches!(
        change(xl.clone(), 31, b'x').fault,
        VerifyFault::XlHeader(_)
    ));
    assert!(matches!(
        change(libxl.clone(), 11, 3).fault,
        VerifyFault::LibxlHeader(_)
    ));
    assert!(matches!(
        change(libxl.clone(), 15, 1).fault,
        VerifyFault::LibxlHeader(_)
    ));
    assert!(matches!(
        change(libxl.clone(), 16, 4).fault,
        VerifyFault::Record { layer: "libxl", .. }
    ));
    assert!(matches!(
        change(libxl.clone(), 16, 9).fault,
        VerifyFault::Record { layer: "libxl", .. }
    ));
    assert!(matches!(
        change(libxc.clone(), 15, 1).fault,
        VerifyFault::LibxcHeader(_)
    ));
    assert!(matches!(
        change(libxc.clone(), 17, 1).fault,
        VerifyFault::LibxcHeader(_)
    ));
    assert!(matches!(
        change(libxc.clone(), 40, 0xE).fault,
        VerifyFault::Record { layer: "libxc", .. }
    ));
    assert!(matches!(
        change(libxc.clone(), 47, 0xFF).fault,
        VerifyFault::Record { layer: "libxc", .. }
    ));
}

proptest! {
    #[test]
    fn a_cut_file_is_an_error(at in any::<Index>()) {
        let bytes = xl_save(&libxl(&with_gpu()));
        let cut = at.index(bytes.len());
        let error = refused(&bytes[..cut]);
        prop_assert!(error.offset <= cut as u64);
        let truncated = match &error.fault {
            VerifyFault::Truncated(_) => true,
            VerifyFault::Gpu(error) => matches!(error.error, RecordError::Truncated),
            _ => false,
        };
        prop_assert!(truncated, "{}", error);
    }

    #[test]
    fn a_changed_octet_never_panics_and_never_changes_gpu_contents(at in any::<Index>(), flip in 1..=255u8) {
        let clean = xl_save(&libxl(&with_gpu()));
        let mut bytes = clean.clone();
        bytes[at.index(clean.len())] ^= flip;
        if let Ok(report) = verify(&bytes[..]) {
            // A type changed to an optional one hides all of it at most, which the libxc stream allows.
            let gpu = verify(&clean[..]).unwrap().gpu;
            prop_assert!(report.gpu.is_none() || report.gpu == gpu);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500), layer in 0..4usize) {
        let start: [&[u8]; 4] = [b"", &xl_save(b""), b"LibxlFmt\0\0\0\x02\0\0\0\0", &libxc(None)[..40]];
        let _ = verify(&[start[layer], &bytes].concat()[..]);
    }
}
