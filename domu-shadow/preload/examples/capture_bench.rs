//! Measures a capture as a session makes it, up to the shared pages: what arrives there is dropped at once.
//!
//! ```text
//! OCL_ICD_FILENAMES=libnvidia-opencl.so.1 capture_bench [--gib 8] [--buffers 3] [--changed 1] [--rounds 5]
//!     [--slots 48] [--slot-kib 1024] [--extents 256]
//! ```
//! Prints a line of JSON for each step; rates are decimal GB/s. `changed` is the share of all 4 KiB chunks, in per
//! cent, that a kernel writes to before each round and before the stop, scattered.

use std::collections::{BTreeMap, VecDeque};
use std::ptr::{NonNull, null_mut};
use std::time::{Duration, Instant};

use channel::guest::StepError;
use channel::memory::SharedRegion;
use runtime::delta::{FilledPlace, PassReport, Place, Sink};
use runtime::mover;

#[path = "../tests/common/mod.rs"]
mod common;
use common::*;

const KERNELS: &str = "
__kernel void spread(__global uint *a, uint seed) { size_t i = get_global_id(0); a[i] = ((uint)i * 2654435761u + seed) | 1u; }
/* One word of every `step`-th chunk. */
__kernel void touch(__global uint *a, ulong chunks, uint step, uint seed)
{
    ulong chunk = (ulong)get_global_id(0) * step + (seed * 2654435761u + (uint)get_global_id(0) * 40503u) % step;
    if (chunk < chunks)
        a[chunk * 1024ul + ((uint)get_global_id(0) * 97u) % 1024u] += 1u + seed;
}";

/// Slots in shared pages; a delivered one is free again.
struct Ring {
    region: SharedRegion,
    slot: usize,
    extents: usize,
    free: VecDeque<u64>,
}

impl Ring {
    fn new(slots: usize, slot: usize, extents: usize) -> Ring {
        let bytes = slots * slot;
        // SAFETY: a fresh mapping of a fresh file, never unmapped.
        let memory = unsafe {
            let fd = libc::memfd_create(c"capture-bench".as_ptr(), 0);
            assert_eq!(libc::ftruncate(fd, bytes as i64), 0);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(
                null_mut(),
                bytes,
                protection,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED);
        let base = NonNull::new(memory.cast()).expect("not the null page");
        // SAFETY: page-aligned, mapped for good, and never referred to.
        let region = unsafe { SharedRegion::new(base, bytes, Box::new(())) };
        Ring {
            region,
            slot,
            extents,
            free: (0..slots as u64).collect(),
        }
    }
}

impl Sink for Ring {
    fn place(&mut self, _may_wait: bool) -> Result<Option<Place>, StepError> {
        Ok(self.free.pop_front().map(|slot| {
            let bytes = self.region.slice(slot as usize * self.slot, self.slot);
            let memory = bytes.expect("a slot of the region").as_ptr();
            // SAFETY: the mapping stays for good; each slot is lent once at a time.
            unsafe { Place::new(slot, memory, self.slot, self.extents) }
        }))
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        self.free.push_back(piece.token);
        Ok(())
    }
}

fn show(step: &str, took: Duration, report: &PassReport) {
    let seconds = took.as_secs_f64();
    println!(
        r#"{{"step":"{step}","ms":{:.2},"sent_mib":{:.1},"gb_s":{:.2},"examined_gib":{:.2},"waited_ms":{:.2},"extents":{}}}"#,
        seconds * 1e3,
        report.data_bytes as f64 / f64::from(1 << 20),
        report.data_bytes as f64 / seconds / 1e9,
        report.examined_bytes as f64 / f64::from(1 << 30),
        report.waited.as_secs_f64() * 1e3,
        report.extents,
    );
}

fn main() {
    let mut words = std::env::args().skip(1);
    let mut options = BTreeMap::new();
    while let Some(name) = words.next() {
        options.insert(name, words.next().expect("a value behind each --name"));
    }
    let get = |name: &str, default: f64| {
        let text = options.get(name);
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let buffers = get("--buffers", 3.0) as usize;
    let bytes = (get("--gib", 8.0) * f64::from(1 << 30)) as usize / buffers / 4096 * 4096;
    let step = (100.0 / get("--changed", 1.0)).round().max(1.0) as u32;
    let slot = get("--slot-kib", 1024.0) as usize * 1024;
    let mut ring = Ring::new(
        get("--slots", 48.0) as usize,
        slot,
        get("--extents", 256.0) as usize,
    );

    let gpu = Gpu::new();
    let program = gpu.built(KERNELS);
    let spread = make!(clCreateKernel(program, c"spread".as_ptr()));
    let touch = make!(clCreateKernel(program, c"touch".as_ptr()));
    let buffers: Vec<Handle> = (0..buffers)
        .map(|_| gpu.buffer(CL_MEM_READ_WRITE, bytes))
        .collect();
    for (n, buffer) in buffers.iter().enumerate() {
        set(spread, 0, buffer);
        set(spread, 1, &(n as u32));
        gpu.run(spread, bytes / 4);
    }
    gpu.finish();
    let chunks = bytes as u64 / 4096;
    let change = |seed: u32| {
        for buffer in &buffers {
            set(touch, 0, buffer);
            set(touch, 1, &chunks);
            set(touch, 2, &step);
            set(touch, 3, &seed);
            gpu.run(touch, chunks as usize / step as usize + 1);
        }
        gpu.finish();
    };

    let begun = Instant::now();
    let mut capture = mover::begin().expect("nothing blocks it");
    capture.compare();
    show("begin", begun.elapsed(), &PassReport::default());
    let begun = Instant::now();
    capture.pin(ring.region.pages());
    show("pin", begun.elapsed(), &PassReport::default());
    for number in 0..get("--rounds", 5.0) as u32 {
        if number > 0 {
            change(number);
        }
        let begun = Instant::now();
        capture.compare();
        let round = capture.round();
        let sent = capture.send_changed(&round, &mut ring).expect("it is sent");
        assert!(sent.whole.is_empty() && round.regions.is_empty());
        drop(round);
        show(&format!("round {number}"), begun.elapsed(), &sent.report);
        let begun = Instant::now();
        let dirty = capture.dirty_bytes(&mut || Ok(())).expect("it is compared");
        assert_eq!(dirty, 0);
        show("dirty again", begun.elapsed(), &PassReport::default());
    }
    change(1000);
    let begun = Instant::now();
    let mut quiesced = capture
        .quiesce(Duration::from_secs(10))
        .map_err(|(_, error)| error)
        .expect("it comes to rest");
    let drained = begun.elapsed();
    let round = quiesced.last_round();
    let sent = quiesced
        .send_changed(&round, &mut ring)
        .expect("it is sent");
    drop(round);
    show("stop, from the closed gate", begun.elapsed(), &sent.report);
    show("of it, draining", drained, &PassReport::default());
    drop(quiesced);
    for buffer in buffers {
        ok!(clReleaseMemObject(buffer));
    }
    for kernel in [spread, touch] {
        ok!(clReleaseKernel(kernel));
    }
    ok!(clReleaseProgram(program));
}
