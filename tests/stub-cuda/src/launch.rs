//! Launches: a function with its grid and its arguments.

use std::any::Any;
use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::*;
use crate::context::Context;
use crate::ffi::{get, list};
use crate::library;
use crate::module::Function;
use crate::ptx::{self, Shape};
use crate::work::{Kernel, Work};

/// Multiprocessors of the device.
pub const PROCESSORS: u32 = 4;
const MOST_THREADS: [u32; 3] = [1024, 1024, 64];
const MOST_BLOCKS: [u32; 3] = [i32::MAX as u32, 65535, 65535];
const SHARED_OF_PROCESSOR: u32 = 228 << 10;

/// Of the list `extra`.
const END: usize = 0;
const BUFFER: usize = 1;
const BUFFER_SIZE: usize = 2;

pub struct Launch {
    pub function: Arc<Function>,
    pub shape: Shape,
    /// The arguments, each at its place.
    pub parameters: Vec<u8>,
    /// Addresses of the arguments, for those who ask a graph's node.
    pub pointers: std::sync::OnceLock<Vec<usize>>,
}

impl Launch {
    /// Addresses of the arguments, good as long as the launch is.
    pub fn pointers(&self) -> &[usize] {
        self.pointers.get_or_init(|| {
            let start = self.parameters.as_ptr().expose_provenance();
            let parameters = self.function.kernel.parameters.iter();
            parameters.map(|(offset, _)| start + offset).collect()
        })
    }
}

impl Kernel for Launch {
    fn run(&self, device: usize, stopped: &dyn Fn() -> bool) -> Outcome<()> {
        ptx::run(
            &self.function.kernel,
            &self.shape,
            &self.parameters,
            device,
            stopped,
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a caller says of a launch.
pub struct Request {
    pub function: Handle,
    pub blocks: [u32; 3],
    pub threads: [u32; 3],
    pub shared: u32,
    pub is_cooperative: bool,
    pub parameters: *const *const c_void,
    pub extra: *const *const c_void,
}

/// Checks a launch, and reads its arguments.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for sizes beyond the device or arguments that are missing, `CUDA_ERROR_INVALID_HANDLE`,
/// `CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE`.
pub fn prepare(context: &Context, request: Request) -> Outcome<Work> {
    let function = library::function_of(request.function, context.handle, context.device)?;
    if function.context != context.handle {
        return Err(CUDA_ERROR_INVALID_HANDLE);
    }
    let is_within = |values: [u32; 3], most: [u32; 3]| {
        values
            .iter()
            .zip(most)
            .all(|(&value, most)| value >= 1 && value <= most)
    };
    let threads = request
        .threads
        .iter()
        .map(|&count| u64::from(count))
        .product::<u64>();
    if !is_within(request.threads, MOST_THREADS)
        || !is_within(request.blocks, MOST_BLOCKS)
        || threads > function.kernel.max_threads.into()
        || request.shared > function.most_dynamic_shared()
    {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let shape = Shape {
        blocks: request.blocks,
        threads: request.threads,
        dynamic_shared: request.shared,
        is_cooperative: request.is_cooperative,
    };
    let blocks = request
        .blocks
        .iter()
        .map(|&count| u64::from(count))
        .product::<u64>();
    let at_once = occupancy(&function, threads as u32, request.shared) * PROCESSORS;
    if request.is_cooperative && blocks > at_once.into() {
        return Err(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    }
    let parameters = parameters(&function, request.parameters, request.extra)?;
    Ok(Work::Kernel(Arc::new(Launch {
        function,
        shape,
        parameters,
        pointers: std::sync::OnceLock::new(),
    })))
}

/// Blocks that a multiprocessor holds at once.
pub fn occupancy(function: &Function, threads: u32, shared: u32) -> u32 {
    let shared = (function.kernel.shared as u32 + shared + 1024).max(1);
    let threads = threads.max(1).next_multiple_of(32);
    if threads > function.kernel.max_threads {
        return 0;
    }
    (2048 / threads).min(32).min(SHARED_OF_PROCESSOR / shared)
}

fn parameters(
    function: &Function,
    pointers: *const *const c_void,
    extra: *const *const c_void,
) -> Outcome<Vec<u8>> {
    let kernel = &function.kernel;
    if !extra.is_null() {
        return match pointers.is_null() {
            true => from_extra(kernel.parameter_bytes, extra),
            false => Err(CUDA_ERROR_INVALID_VALUE),
        };
    }
    let mut bytes = vec![0; kernel.parameter_bytes];
    if kernel.parameters.is_empty() {
        return Ok(bytes);
    }
    if pointers.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    for (pointer, (offset, size)) in list(pointers, kernel.parameters.len())?
        .into_iter()
        .zip(&kernel.parameters)
    {
        if pointer.is_null() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        let value = list(pointer.cast::<u8>(), *size)?;
        bytes[*offset..offset + size].copy_from_slice(&value);
    }
    Ok(bytes)
}

fn from_extra(needed: usize, extra: *const *const c_void) -> Outcome<Vec<u8>> {
    let (mut buffer, mut size) = (std::ptr::null(), 0);
    let mut at = extra;
    loop {
        let value = at.wrapping_add(1);
        match get(at)?.addr() {
            END => break,
            BUFFER => buffer = get(value)?,
            BUFFER_SIZE => size = get(get(value)?.cast::<usize>())?,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        }
        at = at.wrapping_add(2);
    }
    let mut bytes = list(buffer.cast::<u8>(), size)?;
    if size < needed {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    bytes.truncate(needed);
    Ok(bytes)
}
