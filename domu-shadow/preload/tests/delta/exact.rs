//! Passes while nothing else runs: exactly what changed, at every size and alignment.

use opencl::delta::Engine;
use runtime::delta::{CHUNK_BYTES, Config, DeltaError, Estimate, ExtentKind, PassOptions, Secret};

use crate::image::Image;
use crate::rig::{Buffer, Queue, Random, Rig};

const NO_KERNELS: &str = "__kernel void nothing(__global uint *a) { a[0] = 0; }";

fn small_windows() -> Config {
    Config {
        windows: 3,
        window_bytes: 8 * CHUNK_BYTES,
        read_queues: 2,
        segment_bytes: 64 << 10,
        extent_bytes: 3 * CHUNK_BYTES as u32,
        profiling: false,
    }
}

struct Bench {
    rig: Rig,
    queue: Queue,
    secret: Secret,
    engine: Engine,
    image: Image,
    buffers: Vec<(u64, Buffer)>,
}

impl Bench {
    fn new(config: &Config) -> Bench {
        let rig = Rig::open(NO_KERNELS);
        let secret = Secret::random().unwrap();
        // SAFETY: the rig lives as long as the process.
        let engine = unsafe { Engine::with_secret(rig.context, rig.device, config, &secret) };
        Bench {
            rig,
            queue: rig.queue(),
            secret,
            engine: engine.unwrap(),
            image: Image::new(5, 3),
            buffers: Vec::new(),
        }
    }

    fn add(&mut self, id: u64, buffer: Buffer) {
        // SAFETY: the rig's buffers live as long as the process.
        unsafe { self.engine.track(id, buffer.real, buffer.size as u64) }.unwrap();
        self.image.add(id, buffer.size);
        self.buffers.push((id, buffer));
    }

    fn ids(&self) -> Vec<u64> {
        self.buffers.iter().map(|(id, _)| *id).collect()
    }

    fn pass(&mut self) {
        self.image.begin();
        let ids = self.ids();
        let report = self
            .engine
            .pass(&ids, PassOptions::default(), &mut self.image)
            .unwrap();
        assert_eq!(report.data_bytes, self.image.bytes(ExtentKind::Data));
        assert_eq!(report.zero_bytes, self.image.bytes(ExtentKind::Zero));
        assert_eq!(report.extents, self.image.extents.len() as u64);
        self.image.assert_no_byte_twice();
    }

    fn assert_exact(&self) {
        for (id, buffer) in &self.buffers {
            let bytes = self.queue.read(*buffer);
            assert!(bytes == self.image.buffers[id], "buffer {id} differs");
            let table = self.engine.table(*id).unwrap();
            let chunks = bytes.chunks(CHUNK_BYTES);
            assert_eq!(table.len(), chunks.len());
            for (digest, chunk) in table.iter().zip(chunks) {
                assert_eq!(*digest, self.secret.digest(chunk), "buffer {id}");
            }
        }
    }
}

fn random_bytes(random: &mut Random, size: usize) -> Vec<u8> {
    (0..size).map(|_| random.below(255) as u8 + 1).collect()
}

#[test]
fn sends_exactly_what_changed_in_buffers_of_any_size() {
    let mut bench = Bench::new(&small_windows());
    let mut random = Random::new(11);
    let sizes = [
        1,
        5,
        13,
        4095,
        4096,
        4097,
        8192,
        12_301,
        100_003,
        32_768,
        32_769,
        1 << 20,
    ];
    for (id, size) in sizes.into_iter().enumerate() {
        let buffer = bench.rig.buffer(size);
        bench
            .queue
            .write(buffer, 0, &random_bytes(&mut random, size));
        bench.add(id as u64 + 100, buffer);
    }
    bench.pass();
    let all: usize = sizes.iter().sum();
    assert_eq!(bench.image.bytes(ExtentKind::Data), all as u64);
    bench.assert_exact();

    bench.pass();
    assert!(bench.image.extents.is_empty(), "nothing had changed");

    for _ in 0..200 {
        // Some single bytes, each to a value it has not: exactly their chunks, whole.
        let mut expected = std::collections::BTreeSet::new();
        for _ in 0..1 + random.below(6) {
            let (id, buffer) = bench.buffers[random.below(sizes.len() as u64) as usize];
            let at = random.below(buffer.size as u64) as usize;
            let chunk = at / CHUNK_BYTES;
            if !expected.insert((id, chunk)) {
                continue;
            }
            let old = bench.image.buffers[&id][at];
            bench
                .queue
                .write(buffer, at, &[old ^ (1 << random.below(8))]);
        }
        bench.pass();
        let mut sent = std::collections::BTreeSet::new();
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
fn zeros_travel_without_bytes() {
    let mut bench = Bench::new(&small_windows());
    let buffer = bench.rig.buffer(50 * CHUNK_BYTES + 100);
    bench.queue.fill(buffer, 0);
    bench.add(1, buffer);
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), 0);
    assert_eq!(bench.image.bytes(ExtentKind::Zero), buffer.size as u64);
    bench.assert_exact();

    bench.queue.write(buffer, 7 * CHUNK_BYTES + 9, &[1]);
    bench.queue.write(buffer, 50 * CHUNK_BYTES + 99, &[1]);
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Zero), 0);
    assert_eq!(bench.image.bytes(ExtentKind::Data), 4096 + 100);
    bench.assert_exact();

    bench.queue.fill(buffer, 0);
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), 0);
    assert_eq!(bench.image.bytes(ExtentKind::Zero), 4096 + 100);
    bench.assert_exact();
}

/// On a device that shares the host's memory, the program's pointer is the buffer.
#[test]
fn memory_of_the_program_at_any_address() {
    let mut bench = Bench::new(&small_windows());
    let mut random = Random::new(3);
    for shift in [1, 4, 8, 12, 16] {
        let size = 5 * CHUNK_BYTES + 77;
        let memory: &'static mut [u8] = vec![9_u8; size + 64].leak();
        let at = memory.as_ptr().align_offset(32) + shift;
        let start = memory[at..].as_mut_ptr();
        let buffer = bench.rig.buffer_over(start, size);
        bench
            .queue
            .write(buffer, 0, &random_bytes(&mut random, size));
        bench.add(shift as u64, buffer);
    }
    bench.pass();
    bench.assert_exact();
    let (_, buffer) = bench.buffers[0];
    bench.queue.write(buffer, 4 * CHUNK_BYTES, &[0]);
    bench.pass();
    assert_eq!(bench.image.extents.len(), 1);
    bench.assert_exact();
}

#[test]
fn a_sink_that_fails_gets_everything_again() {
    let mut bench = Bench::new(&small_windows());
    let mut random = Random::new(8);
    let buffer = bench.rig.buffer(100 * CHUNK_BYTES);
    bench
        .queue
        .write(buffer, 0, &random_bytes(&mut random, buffer.size));
    bench.add(1, buffer);
    for deliveries in [0, 1, 5] {
        bench.image.begin();
        bench.image.fail_after = Some(deliveries);
        let failed = bench
            .engine
            .pass(&[1], PassOptions::default(), &mut bench.image);
        assert!(matches!(failed, Err(DeltaError::Sink(_))), "{failed:?}");
        bench.image.fail_after = None;
    }
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), buffer.size as u64);
    bench.assert_exact();
    // A new image starts from nothing.
    bench.engine.start_over();
    bench.pass();
    assert_eq!(bench.image.bytes(ExtentKind::Data), buffer.size as u64);
}

fn estimate(engine: &mut Engine) -> Estimate {
    let options = PassOptions::with_duty(0.5);
    engine.estimate(&[1], options, &mut || Ok(())).unwrap()
}

#[test]
fn an_estimate_changes_nothing() {
    let mut bench = Bench::new(&small_windows());
    let buffer = bench.rig.buffer(64 * CHUNK_BYTES);
    bench.queue.fill(buffer, 7);
    bench.add(1, buffer);
    let size = buffer.size as u64;
    assert_eq!(estimate(&mut bench.engine).data_bytes, size);
    bench.pass();
    let nothing = estimate(&mut bench.engine);
    assert_eq!((nothing.data_bytes, nothing.zero_bytes), (0, 0));
    bench
        .queue
        .write(buffer, 3 * CHUNK_BYTES, &[0; CHUNK_BYTES]);
    bench.queue.write(buffer, 9 * CHUNK_BYTES, &[1]);
    for _ in 0..2 {
        let some = estimate(&mut bench.engine);
        assert_eq!((some.data_bytes, some.zero_bytes), (4096, 4096));
    }
    bench.pass();
    bench.assert_exact();
}

#[test]
fn bookkeeping_errors_name_the_buffer() {
    let mut bench = Bench::new(&small_windows());
    let buffer = bench.rig.buffer(4096);
    bench.add(1, buffer);
    // SAFETY: the rig's buffers live as long as the process.
    let again = unsafe { bench.engine.track(1, buffer.real, 4096) };
    assert!(matches!(again, Err(DeltaError::TrackedAlready(1))));
    // SAFETY: as above.
    let empty = unsafe { bench.engine.track(2, buffer.real, 0) };
    assert!(matches!(empty, Err(DeltaError::Size { id: 2, size: 0 })));
    assert!(bench.engine.forget(1) && !bench.engine.forget(1));
    let gone = bench
        .engine
        .pass(&[1], PassOptions::default(), &mut bench.image);
    assert!(matches!(gone, Err(DeltaError::NotTracked(1))));
}

/// Paced comparing finds the same, only later.
#[test]
fn a_paced_pass_is_exact_too() {
    let mut bench = Bench::new(&small_windows());
    let buffer = bench.rig.buffer(200 * CHUNK_BYTES);
    let mut random = Random::new(9);
    bench
        .queue
        .write(buffer, 0, &random_bytes(&mut random, buffer.size));
    bench.add(1, buffer);
    bench.image.begin();
    let paced = PassOptions::with_duty(0.5);
    let report = bench.engine.pass(&[1], paced, &mut bench.image).unwrap();
    assert_eq!(report.data_bytes, buffer.size as u64);
    bench.assert_exact();
}
