//! What the channel's tests share: a workload, a spool, and raw ends that keep no rule.
#![allow(dead_code)]

pub mod raw;
pub mod rng;
pub mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use xl_gpu_channel::host::{Contents, HostTimeouts, SerialSink, Sink, Source, StepLimits};
use xl_gpu_channel::image::{Batch, ExtentKind, SessionId};
use xl_gpu_channel::link::{Announcement, Residence};
use xl_gpu_channel::loopback::LoopbackListener;
use xl_gpu_channel::memory::SharedBytes;

pub const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test takes unless something hangs.
pub const AGES: Duration = Duration::from_secs(30);

pub type Objects = BTreeMap<u64, Vec<u8>>;

/// A listening socket of the test's own, removed at the end.
pub struct Meeting {
    pub path: PathBuf,
    pub listener: LoopbackListener,
}

impl Meeting {
    pub fn new() -> Meeting {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("xl-gpu-test-{}-{n}", std::process::id()));
        let listener = LoopbackListener::bind(&path).unwrap();
        Meeting { path, listener }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub fn announcement() -> Announcement {
    Announcement {
        session: SessionId([3; 16]),
        protocol: (1, 1),
        pid: 1,
        program: "test".into(),
        state: Residence::Attached,
        generation: 0,
        blocked: None,
        others: Default::default(),
        bus: None,
        left: Default::default(),
    }
}

pub fn limits() -> StepLimits {
    StepLimits {
        round_bytes: 64 << 20,
        batch: xl_gpu_channel::image::BatchLimits {
            max_object_bytes: 1 << 24,
            ..Default::default()
        },
    }
}

/// Time-outs that an honest peer never tries, on however slow a machine.
pub fn patient() -> HostTimeouts {
    HostTimeouts { silence: AGES }
}

pub fn guest_patience(silence: Duration) -> xl_gpu_channel::guest::GuestTimeouts {
    xl_gpu_channel::guest::GuestTimeouts {
        silence,
        idle: silence,
    }
}

/// A spool of plain byte vectors that asserts what a batch promises.
#[derive(Default)]
pub struct Store {
    pub objects: Objects,
    pub batches: usize,
    /// Fails at the batch that finds 0 here, as a full disk would.
    pub room: Option<usize>,
    /// The same for reading.
    pub reads_left: Mutex<Option<usize>>,
}

impl SerialSink for Store {
    fn batch(&mut self, _: u32, batch: &Batch<'_>) -> Result<(), xl_gpu_channel::BoxError> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(1).ok_or("the spool is full")?;
        }
        self.batches += 1;
        let limit = limits().batch.max_object_bytes;
        for (extent, bytes) in batch.iter() {
            assert!(extent.object_size <= limit);
            let end = extent.offset.checked_add(extent.len.into()).unwrap();
            assert!(end <= extent.object_size);
            assert_eq!(bytes.len(), extent.payload_bytes());
            if extent.kind == ExtentKind::Data {
                let object = self.objects.entry(extent.object).or_default();
                object.resize(extent.object_size as usize, 0);
                object[extent.offset as usize..end as usize].copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

/// A store to which several threads bring batches.
pub struct Together<'a>(Mutex<&'a mut Store>, usize);

impl<'a> Together<'a> {
    pub fn new(store: &'a mut Store, threads: usize) -> Self {
        Together(Mutex::new(store), threads)
    }
}

impl Sink for Together<'_> {
    fn workers(&self) -> usize {
        self.1
    }

    fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), xl_gpu_channel::BoxError> {
        self.0.lock().unwrap().batch(round, batch)
    }
}

impl Source for Store {
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, xl_gpu_channel::BoxError> {
        if let Some(room) = &mut *self.reads_left.lock().unwrap() {
            *room = room.checked_sub(1).ok_or("the disk has gone")?;
        }
        let from = usize::try_from(offset)
            .ok()
            .and_then(|at| self.objects.get(&object)?.get(at..)?.get(..to.len()));
        let from = from.ok_or("no such bytes")?;
        if from.iter().all(|byte| *byte == 0) {
            return Ok(Contents::Zero);
        }
        to.write(from);
        Ok(Contents::Bytes)
    }
}
