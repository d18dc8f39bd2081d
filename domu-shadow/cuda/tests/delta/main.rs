//! Passes of the delta engine over the stub driver, which runs the kernels' PTX: exactly what changed, at every size and alignment.

#[allow(dead_code, reason = "OpenCL's tests use all of it")]
#[path = "../../../preload/tests/delta/image.rs"]
mod image;
mod rig;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::delta::{CHUNK_BYTES, Config, DeltaError, ExtentKind, PassOptions, Secret};
use xl_gpu_cuda::delta::Engine;
use xl_gpu_cuda::delta::engine::Candidate;

use image::Image;
use rig::{Memory, Random, alone, home};

fn small_windows() -> Config {
    Config {
        windows: 3,
        window_bytes: 8 * CHUNK_BYTES,
        read_queues: 2,
        segment_bytes: 64 << 10,
        extent_bytes: 3 * CHUNK_BYTES as u32,
        profiling: true,
    }
}

struct Bench {
    secret: Secret,
    engine: Engine,
    image: Image,
    blocks: Vec<(u64, Memory)>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(&small_windows())
    }

    fn with(config: &Config) -> Bench {
        let secret = Secret::random().unwrap();
        Bench {
            engine: Engine::with_secret(&home(), config, &secret).unwrap(),
            secret,
            image: Image::new(5, 3),
            blocks: Vec::new(),
        }
    }

    fn add(&mut self, id: u64, memory: Memory) {
        self.engine.track(id, memory.size() as u64).unwrap();
        self.image.add(id, memory.size());
        self.blocks.push((id, memory));
    }

    fn places(&self) -> Vec<Candidate> {
        let place = |(id, memory): &(u64, Memory)| (*id, memory.at());
        self.blocks.iter().map(place).collect()
    }

    fn pass_with(&mut self, options: PassOptions) -> Result<(), DeltaError> {
        self.image.begin();
        // SAFETY: the memory lives as long as the bench.
        let report = unsafe { self.engine.pass(&self.places(), options, &mut self.image) }?;
        assert_eq!(report.data_bytes, self.image.bytes(ExtentKind::Data));
        assert_eq!(report.zero_bytes, self.image.bytes(ExtentKind::Zero));
        assert_eq!(report.extents, self.image.extents.len() as u64);
        self.image.assert_no_byte_twice();
        Ok(())
    }

    fn pass(&mut self) {
        self.pass_with(PassOptions::default()).unwrap();
    }

    fn assert_exact(&self) {
        for (id, memory) in &self.blocks {
            let bytes = memory.read();
            assert!(bytes == self.image.buffers[id], "block {id} differs");
            let table = self.engine.table(*id).unwrap();
            assert_eq!(table.len(), bytes.chunks(CHUNK_BYTES).len());
            for (digest, chunk) in table.iter().zip(bytes.chunks(CHUNK_BYTES)) {
                assert_eq!(*digest, self.secret.digest(chunk), "block {id}");
            }
        }
    }

    fn estimate(&mut self) -> (u64, u64) {
        let (places, options) = (self.places(), PassOptions::with_duty(0.5));
        // SAFETY: as for a pass.
        let estimate = unsafe { self.engine.estimate(&places, options, &mut || Ok(())) };
        let estimate = estimate.unwrap();
        (estimate.data_bytes, estimate.zero_bytes)
    }
}

#[test]
fn sends_exactly_what_changed_at_any_size_and_address() {
    let _alone = alone();
    let (mut bench, mut random) = (Bench::new(), Random::new(11));
    let blocks = [
        (1, 0),
        (13, 3),
        (4095, 0),
        (4096, 1),
        (4097, 16),
        (12_301, 0),
        (32_769, 8),
        (70_001, 0),
    ];
    for (id, (size, shift)) in blocks.into_iter().enumerate() {
        let memory = Memory::new(size, shift);
        memory.write(0, &random.bytes(size));
        bench.add(id as u64 + 100, memory);
    }
    bench.pass();
    let all: usize = blocks.iter().map(|(size, _)| size).sum();
    assert_eq!(bench.image.bytes(ExtentKind::Data), all as u64);
    bench.assert_exact();

    bench.pass();
    assert!(bench.image.extents.is_empty(), "nothing had changed");

    for _ in 0..6 {
        // Some single bytes, each to a value it has not: exactly their chunks, whole.
        let mut expected = BTreeSet::new();
        for _ in 0..1 + random.below(6) {
            let (id, memory) = &bench.blocks[random.below(blocks.len() as u64) as usize];
            let at = random.below(memory.size() as u64) as usize;
            if !expected.insert((*id, at / CHUNK_BYTES)) {
                continue;
            }
            let old = bench.image.buffers[id][at];
            memory.write(at, &[old ^ (1 << random.below(8))]);
        }
        bench.pass();
        let mut sent = BTreeSet::new();
        for &(id, offset, len, _) in &bench.image.extents {
            let first = offset as usize / CHUNK_BYTES;
            let count = (len as usize).div_ceil(CHUNK_BYTES);
            sent.extend((first..first + count).map(|chunk| (id, chunk)));
        }
        assert_eq!(sent, expected);
    }
    bench.assert_exact();
}

#[test]
fn zeros_travel_without_bytes_and_an_estimate_changes_nothing() {
    let _alone = alone();
    let mut bench = Bench::new();
    let size = 20 * CHUNK_BYTES + 100;
    bench.add(1, Memory::new(size, 0));
    bench.blocks[0].1.write(0, &vec![0; size]);
    assert_eq!(bench.estimate(), (size as u64, 0), "nothing was sent yet");
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), 0);
    assert_eq!(bench.image.bytes(ExtentKind::Zero), size as u64);
    bench.assert_exact();

    bench.blocks[0].1.write(7 * CHUNK_BYTES + 9, &[1]);
    bench.blocks[0].1.write(20 * CHUNK_BYTES + 99, &[1]);
    for _ in 0..2 {
        assert_eq!(bench.estimate(), (4096 + 100, 0));
    }
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), 4096 + 100);
    bench.assert_exact();

    bench.blocks[0].1.write(0, &vec![0; size]);
    assert_eq!(bench.estimate(), (0, 4096 + 100));
    // Paced comparing finds the same, only later.
    bench.pass_with(PassOptions::with_duty(0.5)).unwrap();
    assert_eq!(bench.image.bytes(ExtentKind::Zero), 4096 + 100);
    bench.assert_exact();
}

#[test]
fn a_pass_that_is_to_end_early_ends_and_the_next_sends_everything() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static NO_FROM: AtomicUsize = AtomicUsize::new(0);
    static NO_UNTIL: AtomicUsize = AtomicUsize::new(0);
    let _alone = alone();
    let mut random = Random::new(7);
    let no_once = |at: usize| (at, at + 1);
    let no_from = |at: usize| (at, usize::MAX);
    for (from, until) in [0, 1, 2, 5]
        .into_iter()
        .flat_map(|at| [no_once(at), no_from(at)])
    {
        let mut bench = Bench::new();
        let (size, zeros) = (300 * CHUNK_BYTES + 5, 200 * CHUNK_BYTES);
        for id in 1..4 {
            let memory = Memory::new(size, 0);
            memory.write(0, &random.bytes(size));
            memory.write(50 * CHUNK_BYTES, &vec![0; zeros]);
            bench.add(id, memory);
        }
        ASKED.store(0, Ordering::Relaxed);
        NO_FROM.store(from, Ordering::Relaxed);
        NO_UNTIL.store(until, Ordering::Relaxed);
        let options = PassOptions {
            go_on: || {
                let asked = ASKED.fetch_add(1, Ordering::Relaxed);
                asked < NO_FROM.load(Ordering::Relaxed) || asked >= NO_UNTIL.load(Ordering::Relaxed)
            },
            ..PassOptions::default()
        };
        bench.pass_with(options).unwrap();
        let sent = |bench: &Bench| {
            (
                bench.image.bytes(ExtentKind::Data),
                bench.image.bytes(ExtentKind::Zero),
            )
        };
        let all = (3 * (size - zeros) as u64, 3 * zeros as u64);
        assert_ne!(sent(&bench), all, "no from {from} until {until}");
        bench.pass();
        assert_eq!(sent(&bench), all, "no from {from} until {until}");
        bench.assert_exact();
        bench.pass();
        assert!(bench.image.extents.is_empty());
    }
}

#[test]
fn a_sink_that_fails_gets_everything_again() {
    let _alone = alone();
    let (mut bench, mut random) = (Bench::new(), Random::new(8));
    let size = 30 * CHUNK_BYTES;
    bench.add(1, Memory::new(size, 0));
    bench.blocks[0].1.write(0, &random.bytes(size));
    for deliveries in [0, 3] {
        bench.image.fail_after = Some(deliveries);
        let failed = bench.pass_with(PassOptions::default());
        assert!(matches!(failed, Err(DeltaError::Sink(_))), "{failed:?}");
        bench.image.fail_after = None;
    }
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), size as u64);
    bench.assert_exact();
    // A new image starts from nothing.
    bench.engine.start_over();
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), size as u64);
}

/// So much that each warp has more than one group, and more than one entry.
#[test]
fn launches_in_which_warps_go_round() {
    let _alone = alone();
    let mut bench = Bench::with(&Config {
        windows: 2,
        window_bytes: 2 << 20,
        segment_bytes: 16 << 20,
        extent_bytes: 1 << 20,
        ..small_windows()
    });
    let size = 2301 * CHUNK_BYTES + 7;
    bench.add(1, Memory::new(size, 0));
    bench.blocks[0].1.write(0, &vec![7; size]);
    bench.pass();
    bench.assert_exact();
    for chunk in [0, 63, 511, 512, 1023, 2048, 2300, 2301] {
        bench.blocks[0]
            .1
            .write(chunk * CHUNK_BYTES + chunk % 7, &[9]);
    }
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), 7 * 4096 + 7);
    bench.assert_exact();
}

/// Tables share pieces of the device's memory, and give them back.
#[test]
fn many_blocks_come_and_go() {
    let _alone = alone();
    let (mut bench, mut random) = (Bench::new(), Random::new(4));
    for round in 0..4_u64 {
        for id in 0..20 {
            let memory = Memory::new(1 + random.below(9000) as usize, 0);
            memory.write(0, &random.bytes(memory.size()));
            bench.add(100 * round + id, memory);
        }
        bench.pass();
        bench.assert_exact();
        let leaves = |id: u64| id.is_multiple_of(3) || id < 100 * round;
        bench.blocks.retain(|(id, _)| !leaves(*id));
        bench.image.buffers.retain(|id, _| !leaves(*id));
        bench.engine.retain(|id| !leaves(id));
        bench.pass();
        assert!(bench.image.extents.is_empty());
    }
}
