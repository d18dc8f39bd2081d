//! Passes while kernels, and the host's own stores, write to the buffers all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use opencl::delta::Engine;
use runtime::delta::{CHUNK_BYTES, Config, PassOptions, Secret};

use crate::image::Image;
use crate::rig::{Buffer, Queue, Random, Rig};

/// Kernels that write few words, ranges, zeros, and back and forth; one through a pointer to const.
const WRITERS: &str = "
uint spread(uint x) { x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; return x ^ (x >> 16); }
__kernel void few(__global uint *a, uint words, uint seed)
{ a[spread(seed + (uint)get_global_id(0)) % words] = spread(seed); }
__kernel void range(__global uint *a, uint words, uint seed)
{ a[(seed + (uint)get_global_id(0)) % words] = seed + (uint)get_global_id(0); }
__kernel void zero(__global uint *a, uint words, uint seed)
{ a[(seed / 1024u * 1024u + (uint)get_global_id(0)) % words] = 0; }
__kernel void toggle(__global uint *a, uint words, uint seed)
{ a[(97u * (uint)get_global_id(0)) % words] ^= 1u; }
__kernel void sneak(__global const uint *a, uint words, uint seed)
{ ((__global uint *)a)[spread(seed) % words] = seed; }
";
/// Names and how many work-items each runs with.
const KERNELS: [(&std::ffi::CStr, usize); 5] = [
    (c"few", 16),
    (c"range", 3000),
    (c"zero", 2048),
    (c"toggle", 64),
    (c"sneak", 1),
];

/// Runs kernels on a queue of its own until told to stop; `pause` holds it with the queue idle.
struct Writer {
    stop: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    launched: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(name: &str, mut burst: impl FnMut() + Send + 'static) -> Writer {
        let [stop, pause, paused] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let launched = Arc::new(AtomicU64::new(0));
        let shared = (
            stop.clone(),
            pause.clone(),
            paused.clone(),
            launched.clone(),
        );
        let work = move || {
            let (stop, pause, paused, launched) = shared;
            while !stop.load(Ordering::SeqCst) {
                if pause.load(Ordering::SeqCst) {
                    paused.store(true, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(50));
                    continue;
                }
                paused.store(false, Ordering::SeqCst);
                burst();
                launched.fetch_add(1, Ordering::SeqCst);
                // Some of a machine of two cores must be left for the passes.
                std::thread::sleep(Duration::from_micros(100));
            }
            paused.store(true, Ordering::SeqCst);
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work);
        Writer {
            stop,
            pause,
            paused,
            launched,
            thread: Some(thread.unwrap()),
        }
    }

    fn pause(&self) {
        self.paused.store(false, Ordering::SeqCst);
        self.pause.store(true, Ordering::SeqCst);
        while !self.paused.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    fn go_on(&self) {
        self.pause.store(false, Ordering::SeqCst);
    }

    fn stop(mut self) {
        self.go_on();
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn kernel_writer(rig: Rig, buffers: Vec<Buffer>) -> Writer {
    let queue: Queue = rig.queue();
    let kernels = KERNELS.map(|(name, items)| (rig.kernel(name), items));
    let mut random = Random::new(17);
    Writer::start("kernels", move || {
        for _ in 0..1 + random.below(4) {
            let (kernel, items) = &kernels[random.below(kernels.len() as u64) as usize];
            let buffer = buffers[random.below(buffers.len() as u64) as usize];
            kernel.set(0, buffer.real).set(1, (buffer.size / 4) as u32);
            kernel.set(2, random.next() as u32);
            queue.launch(kernel, *items);
        }
        queue.finish();
    })
}

/// Plain stores into memory that a buffer lies over: at the same instant as the engine's kernels, on a device that
/// shares the host's memory.
fn store_writer(memory: usize, size: usize) -> Writer {
    let mut random = Random::new(23);
    Writer::start("stores", move || {
        for _ in 0..5000 {
            let at = random.below(size as u64 / 8) as usize;
            let value = if random.below(4) == 0 {
                0
            } else {
                random.next()
            };
            // SAFETY: in the leaked allocation; volatile, as a device would see any other's stores.
            unsafe {
                std::ptr::with_exposed_provenance_mut::<u64>(memory)
                    .add(at)
                    .write_volatile(value)
            };
        }
    })
}

/// The bytes sent, chunk by chunk, are what the table says, whatever ran meanwhile.
fn assert_table_describes_image(engine: &Engine, secret: &Secret, image: &Image) {
    for (id, bytes) in &image.buffers {
        let table = engine.table(*id).unwrap();
        for (at, (digest, chunk)) in table.iter().zip(bytes.chunks(CHUNK_BYTES)).enumerate() {
            assert_eq!(*digest, secret.digest(chunk), "buffer {id}, chunk {at}");
        }
    }
}

fn assert_image_is_memory(queue: Queue, buffers: &[(u64, Buffer)], image: &Image) {
    for (id, buffer) in buffers {
        let bytes = queue.read(*buffer);
        assert!(
            bytes == image.buffers[id],
            "buffer {id} differs from its image"
        );
    }
}

#[test]
fn no_write_is_lost_over_thousands_of_rounds() {
    let rounds = std::env::var("XL_GPU_DELTA_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(4000_u32);
    let rig = Rig::open(WRITERS);
    let config = Config {
        windows: 3,
        window_bytes: 16 * CHUNK_BYTES,
        segment_bytes: 128 << 10,
        extent_bytes: 4 * CHUNK_BYTES as u32,
        ..Config::default()
    };
    let secret = Secret::random().unwrap();
    // SAFETY: the rig lives as long as the process.
    let mut engine =
        unsafe { Engine::with_secret(rig.context, rig.device, &config, &secret) }.unwrap();
    let mut image = Image::new(2, 4);
    let shared_size = 40 * CHUNK_BYTES;
    let shared = Vec::leak(vec![0_u64; shared_size / 8 + 512]);
    let to_page = shared.as_ptr().align_offset(CHUNK_BYTES);
    let shared = shared[to_page..].as_mut_ptr();
    let mut buffers: Vec<(u64, Buffer)> = [4, 600, 4096, 70_000, 200_000, 32 * CHUNK_BYTES]
        .into_iter()
        .zip(10..)
        .map(|(size, id)| (id, rig.buffer(size)))
        .collect();
    buffers.push((99, rig.buffer_over(shared.cast(), shared_size)));
    let queue = rig.queue();
    for (id, buffer) in &buffers {
        queue.fill(*buffer, *id as u8);
        // SAFETY: the rig's buffers live as long as the process.
        unsafe { engine.track(*id, buffer.real, buffer.size as u64) }.unwrap();
        image.add(*id, buffer.size);
    }
    queue.finish();
    let ids: Vec<u64> = buffers.iter().map(|(id, _)| *id).collect();
    let writers = [
        kernel_writer(rig, buffers.iter().map(|(_, buffer)| *buffer).collect()),
        store_writer(shared.expose_provenance(), shared_size),
    ];

    let mut random = Random::new(31);
    let (mut sent, mut stops) = (0, 0);
    for round in 0..rounds {
        // Mostly all buffers, sometimes a few: a program's arguments name candidates.
        let some: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|_| random.below(3) > 0)
            .collect();
        let stop = random.below(20) == 0;
        if stop {
            writers.iter().for_each(Writer::pause);
        }
        image.begin();
        let candidates = if stop || random.below(2) == 0 {
            &ids
        } else {
            &some
        };
        let report = engine
            .pass(candidates, PassOptions::default(), &mut image)
            .unwrap();
        image.assert_no_byte_twice();
        sent += report.data_bytes + report.zero_bytes;
        if stop {
            stops += 1;
            assert_image_is_memory(queue, &buffers, &image);
            writers.iter().for_each(Writer::go_on);
        }
        // Fresh tables of buffers that no pass had yet mean nothing; after the first rounds all had one.
        if round > 20 && round % 7 == 0 {
            assert_table_describes_image(&engine, &secret, &image);
        }
    }
    let bursts: Vec<u64> = writers
        .iter()
        .map(|writer| writer.launched.load(Ordering::SeqCst))
        .collect();
    writers.into_iter().for_each(Writer::stop);
    queue.finish();
    image.begin();
    engine
        .pass(&ids, PassOptions::default(), &mut image)
        .unwrap();
    assert_image_is_memory(queue, &buffers, &image);
    assert_table_describes_image(&engine, &secret, &image);
    assert!(stops > 0 && sent > 0, "{stops} stops, {sent} bytes");
    // The writers did run beside the passes: else this would prove nothing.
    assert!(
        bursts.iter().all(|&n| n > u64::from(rounds) / 4),
        "{bursts:?} bursts"
    );
    println!("{rounds} rounds, {stops} stops, {sent} bytes, bursts of writers {bursts:?}");
}
