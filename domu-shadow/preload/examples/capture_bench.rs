//! Measures a capture as a session makes it, up to the shared pages: what arrives there is dropped at once.
//!
//! ```text
//! OCL_ICD_FILENAMES=libnvidia-opencl.so.1 capture_bench [--gib 8] [--buffers 3] [--changed 1] [--rounds 5]
//!     [--slots 48] [--slot-kib 1024] [--extents 256]
//! ```
//! Prints a line of JSON for each step; rates are decimal GB/s. `changed` is the share of all 4 KiB chunks, in per
//! cent, that a kernel writes to before each round and before the stop, scattered.

mod capturing;
#[path = "../tests/common/mod.rs"]
mod common;
use capturing::{Options, captured, there_and_back};
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

fn main() {
    let options = Options::read();
    let get = |name: &str, default: f64| options.get(name, default);
    let buffers = get("--buffers", 3.0) as usize;
    let bytes = (get("--gib", 8.0) * f64::from(1 << 30)) as usize / buffers / 4096 * 4096;
    let step = (100.0 / get("--changed", 1.0)).round().max(1.0) as u32;
    let mut ring = options.ring();

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

    let quiesced = captured(&options, &mut ring, change);
    there_and_back(quiesced, &ring);
    for buffer in buffers {
        ok!(clReleaseMemObject(buffer));
    }
    for kernel in [spread, touch] {
        ok!(clReleaseKernel(kernel));
    }
    ok!(clReleaseProgram(program));
}
