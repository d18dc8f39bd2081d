//! Launching kernels, and how many fit.

use std::ffi::{c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::context;
use crate::ffi::{get, list, put};
use crate::launch::{self, PROCESSORS, Request};
use crate::library;
use crate::module::Function;

const COOPERATIVE: c_uint = 2;
const LAST_ATTRIBUTE: c_uint = 18;

fn launch(default: Default, stream: Handle, request: Request) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    let work = launch::prepare(&context, request)?;
    context::enqueue(&context, &stream, work)
}

fn launch_with(
    default: Default,
    config: *const CUlaunchConfig,
    function: Handle,
    parameters: *const *const c_void,
    extra: *const *const c_void,
) -> Outcome<()> {
    let config = get(config)?;
    let mut is_cooperative = false;
    for attribute in list(config.attributes, config.count as usize)? {
        match attribute.id {
            COOPERATIVE => is_cooperative = attribute.value[0] as u32 != 0,
            0..=LAST_ATTRIBUTE => {}
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
    let request = Request {
        function,
        blocks: config.grid,
        threads: config.block,
        shared: config.shared,
        is_cooperative,
        parameters,
        extra,
    };
    launch(default, config.stream, request)
}

fn current_function(handle: Handle) -> Outcome<std::sync::Arc<Function>> {
    let context = context::current()?;
    library::function_of(handle, context.handle, context.device)
}

fn occupancy(out: *mut c_int, function: Handle, threads: c_int, shared: usize) -> Outcome<()> {
    let function = current_function(function)?;
    if threads <= 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    put(
        out,
        launch::occupancy(&function, threads as u32, shared as u32) as c_int,
    )
}

type SharedOf = Option<unsafe extern "C" fn(c_int) -> usize>;

fn best(
    blocks: *mut c_int,
    threads: *mut c_int,
    function: Handle,
    shared_of: SharedOf,
    shared: usize,
    limit: c_int,
) -> Outcome<()> {
    let function = current_function(function)?;
    let most = match limit {
        0 => function.kernel.max_threads,
        limit => function.kernel.max_threads.min(limit.max(32) as u32),
    };
    let shared = match shared_of {
        // SAFETY: the program's function, which is called as cuda.h says.
        Some(shared_of) => unsafe { shared_of(most as c_int) },
        None => shared,
    };
    put(threads, most as c_int)?;
    put(
        blocks,
        (launch::occupancy(&function, most, shared as u32) * PROCESSORS) as c_int,
    )
}

entry_points! {
    fn cuLaunchKernel | cuLaunchKernel_ptsz (
        function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint,
        block_z: c_uint, shared: c_uint, stream: Handle, parameters: *const *const c_void, extra: *const *const c_void
    ) |default| {
        launch(default, stream, Request {
            function,
            blocks: [grid_x, grid_y, grid_z],
            threads: [block_x, block_y, block_z],
            shared,
            is_cooperative: false,
            parameters,
            extra,
        })
    }

    fn cuLaunchCooperativeKernel | cuLaunchCooperativeKernel_ptsz (
        function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint,
        block_z: c_uint, shared: c_uint, stream: Handle, parameters: *const *const c_void
    ) |default| {
        launch(default, stream, Request {
            function,
            blocks: [grid_x, grid_y, grid_z],
            threads: [block_x, block_y, block_z],
            shared,
            is_cooperative: true,
            parameters,
            extra: std::ptr::null(),
        })
    }

    fn cuLaunchKernelEx | cuLaunchKernelEx_ptsz (config: *const CUlaunchConfig, function: Handle, parameters: *const *const c_void, extra: *const *const c_void) |default| {
        launch_with(default, config, function, parameters, extra)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(out: *mut c_int, function: Handle, threads: c_int, shared: usize) {
        occupancy(out, function, threads, shared)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(out: *mut c_int, function: Handle, threads: c_int, shared: usize, flags: c_uint) {
        let _ = flags;
        occupancy(out, function, threads, shared)
    }

    fn cuOccupancyMaxPotentialBlockSize(blocks: *mut c_int, threads: *mut c_int, function: Handle, shared_of: SharedOf, shared: usize, limit: c_int) {
        best(blocks, threads, function, shared_of, shared, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(blocks: *mut c_int, threads: *mut c_int, function: Handle, shared_of: SharedOf, shared: usize, limit: c_int, flags: c_uint) {
        let _ = flags;
        best(blocks, threads, function, shared_of, shared, limit)
    }

    fn cuOccupancyAvailableDynamicSMemPerBlock(out: *mut usize, function: Handle, blocks: c_int, threads: c_int) {
        let function = current_function(function)?;
        let _ = threads;
        let each = (228 << 10) / blocks.max(1) as usize;
        put(out, each.saturating_sub(1024 + function.kernel.shared).min(function.most_dynamic_shared() as usize))
    }
}
