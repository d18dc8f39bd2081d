//! Measures the delta engine on a real device, beside a plain read of everything.
//!
//! ```text
//! XL_GPU_PLATFORM=NVIDIA delta_bench [--gib 8] [--buffers 4] [--changed 1] [--rounds 5] [--windows 6]
//!     [--window-mib 16] [--read-queues 2] [--segment-gib 4] [--slot-mib 64] [--extents 1048576] [--toll-seconds 4]
//!     [--duty 0.02] [--json FILE]
//! ```
//! `--slot-mib` and `--extents` are the sink's places: a ring of pinned memory in slots of that size. JSON goes to
//! the file, or to standard output. All rates are decimal GB/s.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use channel::guest::StepError;
use opencl::delta::Engine;
use runtime::delta::{Config, FilledPlace, PassOptions, PassReport, Place, Secret, Sink};

#[path = "../tests/delta/rig.rs"]
mod rig;
use rig::{Buffer, Kernel, Queue, Rig};

const KERNELS: &str = "
/* One word of every `step`-th page changes, at another place in each. */
__kernel void touch(__global uint *a, ulong pages, uint step, uint seed)
{
    ulong page = (ulong)get_global_id(0) * step + (seed * 2654435761u + (uint)get_global_id(0) * 40503u) % step;
    if (page < pages)
        a[page * 1024ul + ((uint)get_global_id(0) * 97u) % 1024u] += 1u + seed;
}
/* Every word different and none zero. */
__kernel void spread(__global uint *a, uint seed)
{
    size_t i = get_global_id(0);
    a[i] = ((uint)i * 2654435761u + seed) | 1u;
}
__kernel void stream(__global float *a)
{
    size_t i = get_global_id(0);
    a[i] = a[i] * 1.0001f + 1.0f;
}
";

/// `--name value` pairs.
struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn parse() -> Arguments {
        let mut pairs = BTreeMap::new();
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let name = name.strip_prefix("--").expect("--name value").to_owned();
            pairs.insert(name, words.next().expect("a value behind each --name"));
        }
        Arguments(pairs)
    }

    fn get(&self, name: &str, default: f64) -> f64 {
        self.0
            .get(name)
            .map_or(default, |text| text.parse().expect("a number"))
    }
}

/// A ring of slots in shared memory that the driver has pinned; what arrives is dropped at once.
struct Ring {
    memory: *mut u8,
    slot: usize,
    extents: usize,
    free: VecDeque<u64>,
}

impl Ring {
    /// Memory as a channel has it: shared, mapped, and pinned by a buffer that lies over it.
    fn new(rig: &Rig, queue: Queue, bytes: usize, slot: usize, extents: usize) -> Ring {
        // SAFETY: a fresh mapping, never unmapped.
        let memory = unsafe {
            let fd = libc::memfd_create(c"delta-bench".as_ptr(), 0);
            assert_eq!(libc::ftruncate(fd, bytes as i64), 0);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let start = std::ptr::null_mut();
            libc::mmap(start, bytes, protection, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(memory, libc::MAP_FAILED);
        let memory = memory.cast::<u8>();
        // SAFETY: ours, and nobody else has it yet; touching takes page faults out of what is measured.
        unsafe { memory.write_bytes(1, bytes) };
        let registered = rig.buffer_over(memory, bytes);
        let small = rig.buffer(1 << 20);
        queue.fill(small, 0);
        queue.finish();
        let _pinned_for_good = registered;
        queue.read_to(small, 0, small.size.min(bytes), memory, true);
        small.release();
        Ring {
            memory,
            slot,
            extents,
            free: (0..(bytes / slot) as u64).collect(),
        }
    }
}

impl Sink for Ring {
    fn place(&mut self) -> Result<Option<Place>, StepError> {
        Ok(self.free.pop_front().map(|slot| {
            let at = self.memory.wrapping_add(slot as usize * self.slot);
            // SAFETY: a slot of the mapping, lent once.
            unsafe { Place::new(slot, at, self.slot, self.extents) }
        }))
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        self.free.push_back(piece.token);
        Ok(())
    }
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

fn line(name: &str, report: &PassReport) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    let sent = report.data_bytes;
    format!(
        r#"{{"name":"{name}","examined_gib":{:.3},"data_mib":{:.3},"zero_mib":{:.3},"ms":{:.3},"waited_ms":{:.3},"sent_gb_s":{:.2},"detect_ms":{:.3},"detect_gb_s":{:.1},"gather_ms":{:.3},"gather_gb_s":{:.1},"read_ms":{:.3},"read_gb_s":{:.2},"windows":{},"pieces":{},"extents":{}}}"#,
        report.examined_bytes as f64 / f64::from(1 << 30),
        sent as f64 / f64::from(1 << 20),
        report.zero_bytes as f64 / f64::from(1 << 20),
        report.elapsed.as_secs_f64() * 1e3,
        report.waited.as_secs_f64() * 1e3,
        rate(sent, report.elapsed),
        ms(report.detect_ns),
        report.examined_bytes as f64 / report.detect_ns.max(1) as f64,
        ms(report.gather_ns),
        sent as f64 / report.gather_ns.max(1) as f64,
        ms(report.read_ns),
        sent as f64 / report.read_ns.max(1) as f64,
        report.windows,
        report.pieces,
        report.extents,
    )
}

/// A kernel that reads and writes all of a buffer, over and over: what a pass takes bandwidth from.
struct Stream {
    queue: Queue,
    kernel: Kernel,
    buffer: Buffer,
}

impl Stream {
    fn new(rig: &Rig, size: usize) -> Stream {
        let (buffer, queue, kernel) = (rig.buffer(size), rig.queue(), rig.kernel(c"stream"));
        queue.fill(buffer, 0);
        kernel.set(0, buffer.real);
        Stream {
            queue,
            kernel,
            buffer,
        }
    }

    /// Seconds of one launch, the mean over `seconds`; launched in batches, so that the queue never runs dry.
    fn measure(&self, seconds: f64) -> f64 {
        const BATCH: u32 = 20;
        let (begun, mut batches) = (Instant::now(), 0);
        while batches < 3 || begun.elapsed().as_secs_f64() < seconds {
            for _ in 0..BATCH {
                self.queue.launch(&self.kernel, self.buffer.size / 4);
            }
            self.queue.finish();
            batches += 1;
        }
        begun.elapsed().as_secs_f64() / f64::from(batches * BATCH)
    }
}

/// How much slower a streaming kernel is beside `run`, which returns the bytes it sent.
fn toll(name: &str, rig: &Rig, size: usize, seconds: f64, mut run: impl FnMut() -> u64) -> String {
    let stream = Stream::new(rig, size);
    stream.measure(0.0);
    let alone = stream.measure(seconds / 2.0);
    let stop = Arc::new(AtomicBool::new(false));
    let ended = stop.clone();
    let streaming = std::thread::spawn(move || {
        let beside = stream.measure(seconds);
        ended.store(true, Ordering::SeqCst);
        (stream, beside)
    });
    let (begun, mut sent, mut passes) = (Instant::now(), 0, 0);
    while !stop.load(Ordering::SeqCst) {
        sent += run();
        passes += 1;
    }
    let time = begun.elapsed();
    let (stream, beside) = streaming.join().expect("the streaming thread");
    let again = stream.measure(seconds / 2.0);
    stream.buffer.release();
    format!(
        r#"{{"name":"toll {name}","alone_ms":{:.3},"again_ms":{:.3},"beside_ms":{:.3},"slower_percent":{:.2},"passes":{passes},"sent_gb_s":{:.2}}}"#,
        alone * 1e3,
        again * 1e3,
        beside * 1e3,
        (beside / ((alone + again) / 2.0) - 1.0) * 100.0,
        rate(sent, time),
    )
}

/// Everything, read as it lies: what the engine is compared with.
fn plain_read(queue: Queue, buffers: &[Buffer], ring: &Ring) -> (u64, Duration) {
    let step = ring.slot.min(64 << 20);
    let slots = ring.free.len();
    let begun = Instant::now();
    let (mut bytes, mut turn) = (0, 0);
    for buffer in buffers {
        for offset in (0..buffer.size).step_by(step) {
            let size = step.min(buffer.size - offset);
            let to = ring.memory.wrapping_add(turn % slots * ring.slot);
            queue.read_to(*buffer, offset, size, to, false);
            (bytes, turn) = (bytes + size as u64, turn + 1);
            if turn % slots == 0 {
                queue.finish();
            }
        }
    }
    queue.finish();
    (bytes, begun.elapsed())
}

fn main() {
    let arguments = Arguments::parse();
    let gib = |name, default| (arguments.get(name, default) * f64::from(1 << 30)) as usize;
    let mib = |name, default| (arguments.get(name, default) * f64::from(1 << 20)) as usize;
    let count = arguments.get("buffers", 4.0) as usize;
    let size = gib("gib", 8.0) / count / 4096 * 4096;
    let rig = Rig::open(KERNELS);
    let queue = rig.queue();
    let config = Config {
        windows: arguments.get("windows", 6.0) as usize,
        window_bytes: mib("window-mib", 16.0),
        read_queues: arguments.get("read-queues", 2.0) as usize,
        segment_bytes: gib("segment-gib", 4.0) as u64,
        profiling: arguments.get("profiling", 1.0) > 0.0,
        extent_bytes: mib("extent-mib", 1.0) as u32,
    };
    let begun = Instant::now();
    let secret = Secret::random().expect("randomness");
    // SAFETY: the rig lives as long as the process.
    let engine = unsafe { Engine::with_secret(rig.context, rig.device, &config, &secret) };
    let mut engine = engine.unwrap_or_else(|reason| panic!("{reason}"));
    let built = begun.elapsed();
    let slot = mib("slot-mib", 64.0);
    let extents = arguments.get("extents", f64::from(1 << 20)) as usize;
    let mut ring = Ring::new(&rig, queue, mib("ring-mib", 512.0).max(slot), slot, extents);

    let spread = rig.kernel(c"spread");
    let touch = rig.kernel(c"touch");
    let buffers: Vec<Buffer> = (0..count).map(|_| rig.buffer(size)).collect();
    for (id, buffer) in buffers.iter().enumerate() {
        spread.set(0, buffer.real).set(1, id as u32);
        queue.launch(&spread, size / 4);
        // SAFETY: as above.
        unsafe { engine.track(id as u64, buffer.real, size as u64) }.expect("memory for a table");
    }
    queue.finish();
    let ids: Vec<u64> = (0..count as u64).collect();
    let mut seed = 0;
    let mut change = |percent: f64| {
        seed += 1;
        let step = (100.0 / percent).round().max(1.0) as u32;
        let pages = (size / 4096) as u64;
        for buffer in &buffers {
            touch.set(0, buffer.real).set(1, pages);
            touch.set(2, step).set(3, seed);
            queue.launch(&touch, (pages as usize).div_ceil(step as usize));
        }
        queue.finish();
    };
    let full = PassOptions::default();
    let changed = arguments.get("changed", 1.0);

    let mut lines = vec![format!(
        r#"{{"name":"set-up","device":"{}","gib":{:.3},"buffers":{count},"changed_percent":{changed},"engine_ms":{:.1},"device_mib":{:.1},"config":"{config:?}"}}"#,
        rig.device_name(),
        (size * count) as f64 / f64::from(1 << 30),
        built.as_secs_f64() * 1e3,
        engine.device_bytes() as f64 / f64::from(1 << 20),
    )];
    let mut say = |text: String| {
        eprintln!("{text}");
        lines.push(text);
    };
    for _ in 0..2 {
        let (bytes, time) = plain_read(queue, &buffers, &ring);
        say(format!(
            r#"{{"name":"plain read of everything","mib":{},"ms":{:.3},"read_gb_s":{:.2}}}"#,
            bytes >> 20,
            time.as_secs_f64() * 1e3,
            rate(bytes, time)
        ));
    }
    let mut pass = |name: &str, ring: &mut Ring| {
        let report = engine.pass(&ids, full, ring).expect("a pass");
        say(line(name, &report));
    };
    pass("first pass", &mut ring);
    for _ in 0..arguments.get("rounds", 5.0) as usize {
        pass("nothing changed", &mut ring);
        change(changed);
        pass("scattered", &mut ring);
        change(changed / 10.0);
        pass("scattered, a tenth", &mut ring);
    }

    let seconds = arguments.get("toll-seconds", 4.0);
    if seconds > 0.0 {
        let streamed = size.min(4 << 30);
        say(toll("plain read", &rig, streamed, seconds, || {
            plain_read(queue, &buffers, &ring).0
        }));
        let duty = PassOptions::with_duty(arguments.get("duty", 0.02));
        let sent = |engine: &mut Engine, ring: &mut Ring, options| {
            engine.pass(&ids, options, ring).expect("a pass").data_bytes
        };
        say(toll(
            "first passes, back to back",
            &rig,
            streamed,
            seconds,
            || {
                engine.start_over();
                sent(&mut engine, &mut ring, full)
            },
        ));
        say(toll("first passes, paced", &rig, streamed, seconds, || {
            engine.start_over();
            sent(&mut engine, &mut ring, duty)
        }));
        say(toll(
            "nothing changed, back to back",
            &rig,
            streamed,
            seconds,
            || sent(&mut engine, &mut ring, full),
        ));
        say(toll(
            "nothing changed, paced",
            &rig,
            streamed,
            seconds,
            || sent(&mut engine, &mut ring, duty),
        ));
    }
    let json = format!("[\n{}\n]\n", lines.join(",\n"));
    match arguments.0.get("json") {
        Some(path) => std::fs::write(path, json).expect("a file to write"),
        None => print!("{json}"),
    }
}
