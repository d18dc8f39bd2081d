//! Setting memory.

use std::ffi::{c_uchar, c_uint, c_ushort};

use crate::abi::*;
use crate::call::{Default, entry_points};
use crate::context;
use crate::work::{Fill, Work};

/// Sets lines of elements.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for memory that is not there, or an address that is not the element's.
pub fn fill(
    to: u64,
    pitch: usize,
    value: u32,
    element: u64,
    width: usize,
    height: usize,
) -> Outcome<Work> {
    if !to.is_multiple_of(element)
        || height > 1 && (!(pitch as u64).is_multiple_of(element) || pitch < width)
    {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    Ok(Work::Fill(Fill {
        to,
        pitch: pitch as u64,
        value,
        element,
        width: width as u64,
        height: height as u64,
    }))
}

fn now(default: Default, work: Outcome<Work>) -> Outcome<()> {
    context::run_now(default, work?)
}

fn later(default: Default, stream: Handle, work: Outcome<Work>) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    context::enqueue(&context, &stream, work?)
}

entry_points! {
    fn cuMemsetD8_v2 | cuMemsetD8_v2_ptds (to: CUdeviceptr, value: c_uchar, count: usize) |default| {
        now(default, fill(to, 0, value.into(), 1, count, 1))
    }

    fn cuMemsetD16_v2 | cuMemsetD16_v2_ptds (to: CUdeviceptr, value: c_ushort, count: usize) |default| {
        now(default, fill(to, 0, value.into(), 2, count, 1))
    }

    fn cuMemsetD32_v2 | cuMemsetD32_v2_ptds (to: CUdeviceptr, value: c_uint, count: usize) |default| {
        now(default, fill(to, 0, value, 4, count, 1))
    }

    fn cuMemsetD2D8_v2 | cuMemsetD2D8_v2_ptds (to: CUdeviceptr, pitch: usize, value: c_uchar, width: usize, height: usize) |default| {
        now(default, fill(to, pitch, value.into(), 1, width, height))
    }

    fn cuMemsetD2D16_v2 | cuMemsetD2D16_v2_ptds (to: CUdeviceptr, pitch: usize, value: c_ushort, width: usize, height: usize) |default| {
        now(default, fill(to, pitch, value.into(), 2, width, height))
    }

    fn cuMemsetD2D32_v2 | cuMemsetD2D32_v2_ptds (to: CUdeviceptr, pitch: usize, value: c_uint, width: usize, height: usize) |default| {
        now(default, fill(to, pitch, value, 4, width, height))
    }

    fn cuMemsetD8Async | cuMemsetD8Async_ptsz (to: CUdeviceptr, value: c_uchar, count: usize, stream: Handle) |default| {
        later(default, stream, fill(to, 0, value.into(), 1, count, 1))
    }

    fn cuMemsetD16Async | cuMemsetD16Async_ptsz (to: CUdeviceptr, value: c_ushort, count: usize, stream: Handle) |default| {
        later(default, stream, fill(to, 0, value.into(), 2, count, 1))
    }

    fn cuMemsetD32Async | cuMemsetD32Async_ptsz (to: CUdeviceptr, value: c_uint, count: usize, stream: Handle) |default| {
        later(default, stream, fill(to, 0, value, 4, count, 1))
    }

    fn cuMemsetD2D8Async | cuMemsetD2D8Async_ptsz (to: CUdeviceptr, pitch: usize, value: c_uchar, width: usize, height: usize, stream: Handle) |default| {
        later(default, stream, fill(to, pitch, value.into(), 1, width, height))
    }

    fn cuMemsetD2D16Async | cuMemsetD2D16Async_ptsz (to: CUdeviceptr, pitch: usize, value: c_ushort, width: usize, height: usize, stream: Handle) |default| {
        later(default, stream, fill(to, pitch, value.into(), 2, width, height))
    }

    fn cuMemsetD2D32Async | cuMemsetD2D32Async_ptsz (to: CUdeviceptr, pitch: usize, value: c_uint, width: usize, height: usize, stream: Handle) |default| {
        later(default, stream, fill(to, pitch, value, 4, width, height))
    }
}
