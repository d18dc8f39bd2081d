//! Of a process with two APIs dom0 sees one session, and one image with the objects of both.

#[path = "two_apis/fake.rs"]
mod fake;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use channel::BoxError;
use channel::host::{Attached, Contents, HostTimeouts, SerialSink, Source, StepLimits, one_by_one};
use channel::image::{Batch, ExtentKind, MANIFEST_OBJECT};
use channel::link::Peer;
use channel::loopback::LoopbackListener;
use channel::memory::SharedBytes;

use fake::{A, B};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Image(BTreeMap<u64, Vec<u8>>);

impl SerialSink for Image {
    fn batch(&mut self, _round: u32, batch: &Batch<'_>) -> Result<(), BoxError> {
        for (extent, bytes) in batch.iter() {
            if extent.kind == ExtentKind::Drop {
                self.0.remove(&extent.object);
                continue;
            }
            let object = self.0.entry(extent.object).or_default();
            object.resize(extent.object_size as usize, 0);
            if extent.kind == ExtentKind::Data {
                object[extent.offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

impl Source for Image {
    fn read(&self, object: u64, offset: u64, to: SharedBytes<'_>) -> Result<Contents, BoxError> {
        to.write(&self.0[&object][offset as usize..][..to.len()]);
        Ok(Contents::Bytes)
    }
}

fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("xl-gpu-two-apis-{}.sock", std::process::id()))
}

#[test]
fn dom0_sees_one_session() {
    fake::register();
    let listener = LoopbackListener::bind(&socket()).unwrap();
    xl_gpu_runtime::session::set_stress(|| Some(socket()));
    xl_gpu_runtime::session::start();
    let mut peer = listener.accept(PATIENCE).unwrap();
    let second = listener.accept(Duration::from_millis(200));
    assert!(second.is_err(), "the other API has a session of its own");
    let (link, layout) = peer.open(PATIENCE).unwrap();
    let limits = StepLimits {
        round_bytes: 1 << 20,
        batch: channel::image::BatchLimits::default(),
    };
    let patience = HostTimeouts { silence: PATIENCE };
    let mut image = Image::default();
    let (_, copying) = Attached::new(link, layout, limits, patience)
        .begin(1)
        .map_err(|refused| refused.error)
        .unwrap();
    let (stop, quiesced) = copying
        .stop(PATIENCE, &one_by_one(&mut image))
        .map_err(|refused| refused.error)
        .unwrap();
    assert_eq!(stop.buffers, 2);
    let ids: Vec<u64> = image.0.keys().copied().collect();
    assert!(
        [A.id(3), B.id(3), MANIFEST_OBJECT]
            .iter()
            .all(|id| ids.contains(id))
    );
    // The gate opens again, and the capture goes on: what it sent counts, but for the manifest.
    let (_, mut copying) = quiesced.reopen().map_err(|refused| refused.error).unwrap();
    assert!(!xl_gpu_runtime::gate::is_closed());
    copying.round(0, &one_by_one(&mut image)).unwrap();
    assert!(!image.0.contains_key(&MANIFEST_OBJECT));
    let (_, quiesced) = copying
        .stop(PATIENCE, &one_by_one(&mut image))
        .map_err(|refused| refused.error)
        .unwrap();
    assert!(image.0.contains_key(&MANIFEST_OBJECT));
    let before = (A.contents(3), B.contents(3));
    let (_, detached) = quiesced.unload().map_err(|refused| refused.error).unwrap();
    assert!(A.contents(3) != before.0 && B.contents(3) != before.1);
    let (_, attached) = detached
        .restore(1, &image, &mut |_| {})
        .map_err(|refused| refused.error)
        .unwrap();
    assert_eq!((A.contents(3), B.contents(3)), before);
    peer.close(attached.into_link(), PATIENCE).unwrap();
    let _ = std::fs::remove_file(socket());
}
