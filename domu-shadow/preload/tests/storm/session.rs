//! The process's own session over a loopback link; the test plays dom0.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use channel::host::{
    Attached, Contents, Detached, HostTimeouts, SerialSink, Source, StepLimits, one_by_one,
};
use channel::image::{Batch, ExtentKind};
use channel::link::Peer;
use channel::loopback::{LoopbackListener, LoopbackPeer, SOCKET_ENV};
use channel::memory::SharedBytes;

use crate::rig::{Counter, Stub, in_child};
use crate::shortage::{all_files, leave_files};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the session sent.
#[derive(Default)]
struct Image(BTreeMap<u64, Vec<u8>>);

impl SerialSink for Image {
    fn batch(&mut self, _round: u32, batch: &Batch<'_>) -> Result<(), channel::BoxError> {
        for (extent, bytes) in batch.iter() {
            let object = self.0.entry(extent.object).or_default();
            object.resize(extent.object_size as usize, 0);
            let part = &mut object[extent.offset as usize..][..extent.len as usize];
            match extent.kind {
                ExtentKind::Data => part.copy_from_slice(bytes),
                _ => part.fill(0),
            }
        }
        Ok(())
    }
}

impl Source for Image {
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, channel::BoxError> {
        to.write(&self.0[&object][offset as usize..][..to.len()]);
        Ok(Contents::Bytes)
    }
}

fn limits() -> StepLimits {
    StepLimits {
        round_bytes: 1 << 40,
        batch: channel::image::BatchLimits::default(),
    }
}

fn patience() -> HostTimeouts {
    HostTimeouts { silence: PATIENCE }
}

/// A program, and its session as dom0 meets it.
fn meet() -> (Counter, LoopbackPeer) {
    let path = env::temp_dir().join(format!("xl-gpu-session-{}.sock", std::process::id()));
    let listener = LoopbackListener::bind(&path).unwrap();
    // A failure leaves the program's calls waiting, and it could not be told.
    std::panic::set_hook(Box::new(|what| {
        eprintln!("{what}");
        std::process::abort();
    }));
    // SAFETY: the process has one thread yet.
    unsafe { env::set_var(SOCKET_ENV, &path) };
    let counter = Counter::new();
    let peer = listener.accept(PATIENCE).unwrap();
    std::fs::remove_file(&path).unwrap();
    (counter, peer)
}

/// Nothing is left for the time in which the program waits.
#[test]
fn a_stop_comes_with_the_binaries_of_all_programs() {
    let test = "session::a_stop_comes_with_the_binaries_of_all_programs";
    in_child(test, "stay_mapped", || {
        let (mut counter, mut peer) = meet();
        let asked = || Stub::calls()("clGetProgramInfo");
        let mut image = Image::default();
        let (link, layout) = peer.open(PATIENCE).unwrap();
        let attached = Attached::new(link, layout, limits(), patience());
        let before = asked();
        let (_, mut copying) = attached.begin(1).unwrap();
        let for_one = asked() - before;
        assert!(for_one > 0);
        let others = [Counter::new(), Counter::new()];
        copying.round(0, &one_by_one(&mut image)).unwrap();
        assert_eq!(asked() - before, 3 * for_one);
        let another = Counter::new();
        let (_, quiesced) = copying.stop(PATIENCE, &one_by_one(&mut image)).unwrap();
        assert_eq!(asked() - before, 4 * for_one);
        let (_, detached) = quiesced.unload().unwrap();
        assert_eq!(asked() - before, 4 * for_one);
        let (_, attached) = detached.restore(1, &image, &mut |_| ()).unwrap();
        counter.check();
        peer.close(attached.into_link(), PATIENCE).unwrap();
        for mut other in others.into_iter().chain([another]) {
            other.check();
        }
    });
}

/// The link of the capture ends before the domain is suspended, and another one is needed behind it.
#[test]
fn a_session_opens_again_where_the_program_has_taken_all_descriptors() {
    let test = "session::a_session_opens_again_where_the_program_has_taken_all_descriptors";
    in_child(test, "nvidia", || {
        let (mut counter, mut peer) = meet();
        counter.check();
        leave_files(48);
        let mut image = Image::default();
        let (link, layout) = peer.open(PATIENCE).unwrap();
        let (_, copying) = Attached::new(link, layout, limits(), patience())
            .begin(1)
            .unwrap();
        let (_, quiesced) = copying.stop(PATIENCE, &one_by_one(&mut image)).unwrap();
        let (_, detached) = quiesced.unload().unwrap();
        peer.close(detached.into_link(), PATIENCE).unwrap();
        let taken = all_files();
        let (link, layout) = peer.open(PATIENCE).unwrap();
        let detached = Detached::new(link, layout, limits(), patience());
        let (_, attached) = detached.restore(1, &image, &mut |_| ()).unwrap();
        drop(taken);
        counter.check();
        peer.close(attached.into_link(), PATIENCE).unwrap();
    });
}
