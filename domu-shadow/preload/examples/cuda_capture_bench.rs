//! Measures a capture of CUDA memory as a session makes it, up to the shared pages, and the way back from them: `capture_bench` for CUDA.
//!
//! ```text
//! cuda_capture_bench [--gib 8] [--buffers 3] [--changed 1] [--rounds 5] [--slots 48] [--slot-kib 1024] [--extents 256]
//! ```
//! Prints a line of JSON for each step; rates are decimal GB/s. `changed` is the share of all 4 KiB chunks, in per cent, that a kernel
//! writes to before each round and before the stop, scattered.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr::null_mut;

use cuda::abi::{CUcontext, CUdevice, CUdeviceptr, CUfunction, CUmodule, CUresult, CUstream};

mod capturing;
use capturing::{Options, captured, there_and_back};

/// Of the test programs; its kernels `fill` and `touch`.
const KERNELS: &[u8] = concat!(
    include_str!("../../../tests/programs/cuda/kernels.ptx"),
    "\0"
)
.as_bytes();

// As the program calls them: the functions of the library itself.
unsafe extern "C" {
    fn cuInit(flags: c_uint) -> CUresult;
    fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int) -> CUresult;
    fn cuCtxCreate_v2(context: *mut CUcontext, flags: c_uint, device: CUdevice) -> CUresult;
    fn cuCtxSynchronize() -> CUresult;
    fn cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize) -> CUresult;
    fn cuMemFree_v2(at: CUdeviceptr) -> CUresult;
    fn cuModuleLoadData(module: *mut CUmodule, image: *const c_void) -> CUresult;
    fn cuModuleGetFunction(
        function: *mut CUfunction,
        module: CUmodule,
        name: *const i8,
    ) -> CUresult;
    #[rustfmt::skip]
    fn cuLaunchKernel(
        function: CUfunction,
        grid_x: c_uint,
        grid_y: c_uint,
        grid_z: c_uint,
        block_x: c_uint,
        block_y: c_uint,
        block_z: c_uint,
        shared: c_uint,
        stream: CUstream,
        parameters: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> CUresult;
}

macro_rules! ok {
    ($call:expr) => {{
        // SAFETY: pointers to locals of the types that cuda.h names.
        let code = unsafe { $call };
        assert_eq!(code, 0, stringify!($call));
    }};
}

fn function(module: CUmodule, name: &CStr) -> CUfunction {
    let mut function = null_mut();
    ok!(cuModuleGetFunction(
        &raw mut function,
        module,
        name.as_ptr()
    ));
    function
}

fn launch(function: CUfunction, threads: u64, parameters: &mut [*mut c_void]) {
    let blocks = threads.div_ceil(64).max(1) as c_uint;
    ok!(cuLaunchKernel(
        function,
        blocks,
        1,
        1,
        64,
        1,
        1,
        0,
        null_mut(),
        parameters.as_mut_ptr(),
        null_mut()
    ));
}

fn main() {
    let options = Options::read();
    let count = options.get("--buffers", 3.0) as usize;
    let bytes = (options.get("--gib", 8.0) * f64::from(1 << 30)) as usize / count / 4096 * 4096;
    let step = (100.0 / options.get("--changed", 1.0)).round().max(1.0) as u32;
    let mut ring = options.ring();

    let (mut device, mut context, mut module) = (0, null_mut(), null_mut());
    ok!(cuInit(0));
    ok!(cuDeviceGet(&raw mut device, 0));
    ok!(cuCtxCreate_v2(&raw mut context, 0, device));
    ok!(cuModuleLoadData(&raw mut module, KERNELS.as_ptr().cast()));
    let (fill, touch) = (function(module, c"fill"), function(module, c"touch"));
    let mut buffers = vec![0; count];
    for (number, buffer) in buffers.iter_mut().enumerate() {
        ok!(cuMemAlloc_v2(buffer, bytes));
        let (mut words, mut seed) = (bytes as u64 / 4, number as u32);
        let parameters = &mut [
            (&raw mut *buffer).cast(),
            (&raw mut words).cast(),
            (&raw mut seed).cast(),
        ];
        launch(fill, words.min(1 << 20), parameters);
    }
    ok!(cuCtxSynchronize());
    let change = |mut seed: u32| {
        let (mut chunks, mut step) = (bytes as u64 / 4096, step);
        for mut buffer in buffers.iter().copied() {
            let parameters = &mut [
                (&raw mut buffer).cast(),
                (&raw mut chunks).cast(),
                (&raw mut step).cast(),
                (&raw mut seed).cast(),
            ];
            launch(touch, chunks / u64::from(step) + 1, parameters);
        }
        ok!(cuCtxSynchronize());
    };
    let quiesced = captured(&options, &mut ring, change);

    there_and_back(quiesced, &ring);
    for buffer in buffers {
        ok!(cuMemFree_v2(buffer));
    }
}
