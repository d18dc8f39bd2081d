//! A move of a program with many kernels, of which few are used: pocl would compile all of them for its binary.

mod common;

use common::moving::{alone, begin, there_and_back};
use common::*;
use std::ffi::CString;
use std::path::{Path, PathBuf};

const KERNELS: usize = 24;

/// Kernels that pocl has compiled.
fn compiled(cache: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(cache) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| match path.is_dir() {
        true => compiled(&path),
        false => path.extension().is_some_and(|end| end == "so").into(),
    };
    paths.map(count).sum()
}

#[test]
fn kernels_that_nobody_uses_are_not_compiled_for_a_move() {
    let _alone = alone();
    let cache = std::env::temp_dir().join(format!("xl-gpu-moves-large-{}", std::process::id()));
    // SAFETY: this process has this test alone, and no thread that reads the environment.
    unsafe { std::env::set_var("POCL_CACHE_DIR", &cache) };
    let gpu = Gpu::new();
    let one =
        |n| format!("__kernel void f{n}(__global int *out) {{ out[get_global_id(0)] += {n}; }}\n");
    let program = gpu.built(&(0..KERNELS).map(one).collect::<String>());
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    gpu.write(buffer, 0, &[0_i32; 16]);
    let run = |n: usize| {
        let name = CString::new(format!("f{n}")).unwrap();
        let kernel = make!(clCreateKernel(program, name.as_ptr()));
        set(kernel, 0, &buffer);
        gpu.run(kernel, 16);
        gpu.finish();
        ok!(clReleaseKernel(kernel));
    };
    run(3);
    let before = compiled(&cache);
    assert!((1..KERNELS).contains(&before), "{before} of {KERNELS}");
    begin().prepare(|| true);
    there_and_back(0);
    assert_eq!(compiled(&cache), before);
    run(3);
    run(20);
    there_and_back(0);
    run(20);
    assert_eq!(gpu.read::<i32>(buffer, 0, 16), [46; 16]);
    ok!(clReleaseMemObject(buffer));
    ok!(clReleaseProgram(program));
    std::fs::remove_dir_all(&cache).unwrap();
}
