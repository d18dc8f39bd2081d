//! A move where memory is short: pocl asks for 256 MiB to write a program's binary, and does not look whether it got them.

mod common;

use common::moving::{alone, there_and_back};
use common::*;

const VALUE: &str = "__kernel void value(__global int *out) { out[get_global_id(0)] = 7; }";

#[test]
fn a_driver_is_not_asked_for_what_would_crash_it() {
    let _alone = alone();
    let gpu = Gpu::new();
    let kernel = gpu.kernel(VALUE, "value");
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    set(kernel, 0, &buffer);
    gpu.run(kernel, 16);
    there_and_back(0); // the compilers are loaded, the kernels of ours compiled
    // Made since: a program that came from a binary has it at hand.
    let other = gpu.kernel(
        "__kernel void other(__global int *out) { out[get_global_id(0)] = 8; }",
        "other",
    );
    set(other, 0, &buffer);
    gpu.run(other, 16);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib: u64 = used
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    let limit = libc::rlimit {
        rlim_cur: (kib << 10) + (200 << 20),
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: limits what this process, which has this test alone, may map.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(limited, 0);
    there_and_back(0);
    gpu.run(kernel, 8);
    assert_eq!(gpu.read::<i32>(buffer, 0, 16)[7..9], [7, 8]);
    gpu.run(other, 16);
    assert_eq!(gpu.read::<i32>(buffer, 0, 16), [8; 16]);
    ok!(clReleaseKernel(other));
    ok!(clReleaseKernel(kernel));
    ok!(clReleaseMemObject(buffer));
}
