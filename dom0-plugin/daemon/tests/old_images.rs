//! Streams of earlier formats, as their senders wrote them, are verified and received as they were then.

use std::fs::File;
use std::path::{Path, PathBuf};

use channel::image::{Api, Manifest, SessionId, SessionKey};
use spool::{GuestSpool, Spool, SpoolConfig};
use stream::verify::verify;
use stream::{Receiver, StreamLimits, is_gpu_type};

/// The whole libxc stream begins with its two headers and an empty record.
const BEFORE_GPU: usize = 24 + 16 + 8;

const KEY: SessionKey = SessionKey {
    session: SessionId([0xA1; 16]),
    generation: 4,
};

fn stream_1_0() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_images/stream-1.0.libxc")
}

fn received(stream: &[u8]) -> GuestSpool {
    let config = SpoolConfig {
        memory_bytes: 1 << 20,
        dir: std::env::temp_dir(),
        guest_bytes: 1 << 20,
    };
    let mut guest = Spool::new(config).guest();
    let mut receiver = Receiver::new(StreamLimits::default());
    let mut from = &stream[BEFORE_GPU..];
    let first = receiver.reader().read_header(&mut from).unwrap();
    assert!(is_gpu_type(first.record_type));
    receiver.records(&mut from, first, &mut guest).unwrap();
    assert!(receiver.finish().unwrap().is_some());
    guest
}

fn check_manifest(manifest: &Manifest) {
    assert_eq!((manifest.program.as_str(), manifest.pid), ("nbody", 312));
    assert_eq!(manifest.devices[0].name, "NVIDIA H200");
    let apis = manifest.by_api();
    assert!(apis.into_iter().eq([(Api::OPENCL, (2, 8292 + 6000))]));
}

#[test]
fn a_stream_of_format_1_0_is_verified() {
    let report = verify(File::open(stream_1_0()).unwrap()).unwrap();
    let gpu = report.gpu.unwrap();
    let [session] = &gpu.sessions[..] else {
        panic!("{gpu:?}");
    };
    let key = (session.session, session.generation);
    assert_eq!((key, session.objects), ((KEY.session, KEY.generation), 3));
    let copied: u64 = session.rounds.iter().map(|round| round.copy_bytes).sum();
    assert_eq!(copied, 4096);
    check_manifest(session.manifest.as_ref().unwrap());
}

#[test]
fn a_stream_of_format_1_0_is_received() {
    let guest = received(&std::fs::read(stream_1_0()).unwrap());
    let image = guest.get(&KEY).unwrap();
    check_manifest(&image.manifest(KEY.generation).unwrap());
    let read = |object, len| {
        let mut bytes = vec![0xAA; len];
        image.read(object, 0, &mut bytes).unwrap();
        bytes
    };
    let first: Vec<u8> = (0..8292u64)
        .map(|n| (n * n / 7 + n / 256 + 1) as u8)
        .collect();
    let mut one = first.clone();
    one[100..][..21].copy_from_slice(b"written after round 0");
    let mut two = first;
    two.truncate(4096);
    two.resize(6000, 0);
    assert!(read(1, 8292) == one && read(2, 6000) == two);
    assert_eq!(image.objects().count(), 3);
}
