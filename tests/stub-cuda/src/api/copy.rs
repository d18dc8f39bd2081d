//! Copies.

use std::ffi::{c_uint, c_void};

use crate::abi::*;
use crate::array;
use crate::call::{Default, entry_points};
use crate::context;
use crate::ffi::{get, list, put_if};
use crate::memory::addresses;
use crate::work::{Copy, Place, Side, Work, place_of};

/// Device memory, by an address that the call says is one.
fn device(address: CUdeviceptr) -> Place {
    Place::Device(address)
}

/// The program's memory, pinned or not.
fn host(address: *const c_void) -> Outcome<Place> {
    match address.is_null() {
        true => Err(CUDA_ERROR_INVALID_VALUE),
        false => place_of(address.expose_provenance() as u64),
    }
}

fn line(to: Place, from: Place, size: usize) -> Copy {
    Copy {
        to: Side::line(to),
        from: Side::line(from),
        width: size as u64,
        height: 1,
        depth: 1,
    }
}

fn now(default: Default, copy: Copy) -> Outcome<()> {
    if copy.width == 0 {
        return context::current().map(drop);
    }
    context::run_now(default, Work::Copy(copy))
}

/// What the program may change at once is read at once; what it cannot know to be written is written before the end.
fn later(default: Default, stream: Handle, copy: Copy) -> Outcome<()> {
    let (context, stream) = context::of_stream(default, stream)?;
    if copy.width == 0 {
        return Ok(());
    }
    let is_captured = crate::lock::lock(&stream.capture).is_some();
    let is_pageable = matches!(copy.to.place, Place::Host(_));
    let copy = if is_captured { copy } else { copy.staged() };
    context::enqueue(&context, &stream, Work::Copy(copy))?;
    if is_pageable
        && !is_captured
        && let Some(fence) = stream.last()
    {
        fence.wait();
        context.fault.check()?;
    }
    Ok(())
}

/// Bytes of a line that a pitch has to hold.
fn pitch_of(pitch: usize, needed: usize) -> Outcome<u64> {
    match pitch {
        0 => Ok(needed as u64),
        _ if pitch < needed => Err(CUDA_ERROR_INVALID_VALUE),
        _ => Ok(pitch as u64),
    }
}

/// One side of a copy in two or three dimensions.
struct Corner {
    kind: c_uint,
    host: usize,
    device: CUdeviceptr,
    array: Handle,
    at: [usize; 3],
    pitch: usize,
    lines: usize,
}

impl Corner {
    fn side(self, width: usize, height: usize) -> Outcome<Side> {
        let [x, y, z] = self.at;
        if self.kind == CU_MEMORYTYPE_ARRAY {
            let array = array::get(self.array)?;
            array.check(x + width, y + height)?;
            return Ok(Side {
                offset: z as u64 * array.plane() + y as u64 * array.pitch() + x as u64,
                pitch: array.pitch(),
                plane: array.plane(),
                place: Place::Array(array.backing.clone()),
            });
        }
        let pitch = pitch_of(self.pitch, x + width)?;
        let lines = if self.lines == 0 {
            y + height
        } else {
            self.lines
        };
        let place = match self.kind {
            CU_MEMORYTYPE_HOST => place_of(self.host as u64)?,
            CU_MEMORYTYPE_DEVICE => device(self.device),
            CU_MEMORYTYPE_UNIFIED => place_of(self.device)?,
            _ => return Err(CUDA_ERROR_INVALID_VALUE),
        };
        Ok(Side {
            place,
            offset: z as u64 * pitch * lines as u64 + y as u64 * pitch + x as u64,
            pitch,
            plane: pitch * lines as u64,
        })
    }
}

fn copy_2d(copy: *const CUmemcpy2D) -> Outcome<Copy> {
    let copy = get(copy)?;
    let from = Corner {
        kind: copy.src_kind,
        host: copy.src_host,
        device: copy.src_device,
        array: copy.src_array,
        at: [copy.src_x, copy.src_y, 0],
        pitch: copy.src_pitch,
        lines: 0,
    };
    let to = Corner {
        kind: copy.dst_kind,
        host: copy.dst_host,
        device: copy.dst_device,
        array: copy.dst_array,
        at: [copy.dst_x, copy.dst_y, 0],
        pitch: copy.dst_pitch,
        lines: 0,
    };
    Ok(Copy {
        to: to.side(copy.width, copy.height)?,
        from: from.side(copy.width, copy.height)?,
        width: copy.width as u64,
        height: copy.height as u64,
        depth: 1,
    })
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn copy_3d(copy: *const CUmemcpy3D) -> Outcome<Copy> {
    let copy = get(copy)?;
    let from = Corner {
        kind: copy.src_kind,
        host: copy.src_host,
        device: copy.src_device,
        array: copy.src_array,
        at: [copy.src_x, copy.src_y, copy.src_z],
        pitch: copy.src_pitch,
        lines: copy.src_height,
    };
    let to = Corner {
        kind: copy.dst_kind,
        host: copy.dst_host,
        device: copy.dst_device,
        array: copy.dst_array,
        at: [copy.dst_x, copy.dst_y, copy.dst_z],
        pitch: copy.dst_pitch,
        lines: copy.dst_height,
    };
    Ok(Copy {
        to: to.side(copy.width, copy.height)?,
        from: from.side(copy.width, copy.height)?,
        width: copy.width as u64,
        height: copy.height as u64,
        depth: copy.depth as u64,
    })
}

fn array_side(handle: Handle, offset: usize) -> Outcome<Side> {
    let array = array::get(handle)?;
    Ok(Side {
        offset: offset as u64,
        ..Side::line(Place::Array(array.backing.clone()))
    })
}

fn between(to: Side, from: Side, size: usize) -> Copy {
    Copy {
        to,
        from,
        width: size as u64,
        height: 1,
        depth: 1,
    }
}

fn peers(to: Handle, from: Handle) -> Outcome<()> {
    for context in [to, from] {
        context::CONTEXTS
            .get(context)
            .ok_or(CUDA_ERROR_INVALID_CONTEXT)?;
    }
    Ok(())
}

/// Copies of a batch, all as one piece of work in their order.
fn batch(
    to: *const CUdeviceptr,
    from: *const CUdeviceptr,
    sizes: *const usize,
    count: usize,
) -> Outcome<Vec<Copy>> {
    if count == 0 {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let (to, from, sizes) = (list(to, count)?, list(from, count)?, list(sizes, count)?);
    to.into_iter()
        .zip(from)
        .zip(sizes)
        .map(|((to, from), size)| Ok(line(place_of(to)?, place_of(from)?, size)))
        .collect()
}

fn checked_device(address: CUdeviceptr) -> Outcome<Place> {
    match addresses::is_device(address) || crate::memory::space::find(address).is_some() {
        true => Ok(device(address)),
        false => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

entry_points! {
    fn cuMemcpy | cuMemcpy_ptds (to: CUdeviceptr, from: CUdeviceptr, size: usize) |default| {
        now(default, line(place_of(to)?, place_of(from)?, size))
    }

    fn cuMemcpyAsync | cuMemcpyAsync_ptsz (to: CUdeviceptr, from: CUdeviceptr, size: usize, stream: Handle) |default| {
        later(default, stream, line(place_of(to)?, place_of(from)?, size))
    }

    fn cuMemcpyHtoD_v2 | cuMemcpyHtoD_v2_ptds (to: CUdeviceptr, from: *const c_void, size: usize) |default| {
        now(default, line(checked_device(to)?, host(from)?, size))
    }

    fn cuMemcpyDtoH_v2 | cuMemcpyDtoH_v2_ptds (to: *mut c_void, from: CUdeviceptr, size: usize) |default| {
        now(default, line(host(to)?, checked_device(from)?, size))
    }

    fn cuMemcpyDtoD_v2 | cuMemcpyDtoD_v2_ptds (to: CUdeviceptr, from: CUdeviceptr, size: usize) |default| {
        now(default, line(checked_device(to)?, checked_device(from)?, size))
    }

    fn cuMemcpyHtoDAsync_v2 | cuMemcpyHtoDAsync_v2_ptsz (to: CUdeviceptr, from: *const c_void, size: usize, stream: Handle) |default| {
        later(default, stream, line(checked_device(to)?, host(from)?, size))
    }

    fn cuMemcpyDtoHAsync_v2 | cuMemcpyDtoHAsync_v2_ptsz (to: *mut c_void, from: CUdeviceptr, size: usize, stream: Handle) |default| {
        later(default, stream, line(host(to)?, checked_device(from)?, size))
    }

    fn cuMemcpyDtoDAsync_v2 | cuMemcpyDtoDAsync_v2_ptsz (to: CUdeviceptr, from: CUdeviceptr, size: usize, stream: Handle) |default| {
        later(default, stream, line(checked_device(to)?, checked_device(from)?, size))
    }

    fn cuMemcpyPeer | cuMemcpyPeer_ptds (to: CUdeviceptr, to_context: Handle, from: CUdeviceptr, from_context: Handle, size: usize) |default| {
        peers(to_context, from_context)?;
        now(default, line(checked_device(to)?, checked_device(from)?, size))
    }

    fn cuMemcpyPeerAsync | cuMemcpyPeerAsync_ptsz (to: CUdeviceptr, to_context: Handle, from: CUdeviceptr, from_context: Handle, size: usize, stream: Handle) |default| {
        peers(to_context, from_context)?;
        later(default, stream, line(checked_device(to)?, checked_device(from)?, size))
    }

    fn cuMemcpy2D_v2 | cuMemcpy2D_v2_ptds (copy: *const CUmemcpy2D) |default| {
        now(default, copy_2d(copy)?)
    }

    fn cuMemcpy2DUnaligned_v2 | cuMemcpy2DUnaligned_v2_ptds (copy: *const CUmemcpy2D) |default| {
        now(default, copy_2d(copy)?)
    }

    fn cuMemcpy2DAsync_v2 | cuMemcpy2DAsync_v2_ptsz (copy: *const CUmemcpy2D, stream: Handle) |default| {
        later(default, stream, copy_2d(copy)?)
    }

    fn cuMemcpy3D_v2 | cuMemcpy3D_v2_ptds (copy: *const CUmemcpy3D) |default| {
        now(default, copy_3d(copy)?)
    }

    fn cuMemcpy3DAsync_v2 | cuMemcpy3DAsync_v2_ptsz (copy: *const CUmemcpy3D, stream: Handle) |default| {
        later(default, stream, copy_3d(copy)?)
    }

    fn cuMemcpy3DPeer | cuMemcpy3DPeer_ptds (copy: *const CUmemcpy3D) |default| {
        now(default, copy_3d(copy)?)
    }

    fn cuMemcpy3DPeerAsync | cuMemcpy3DPeerAsync_ptsz (copy: *const CUmemcpy3D, stream: Handle) |default| {
        later(default, stream, copy_3d(copy)?)
    }

    fn cuMemcpyAtoD_v2 | cuMemcpyAtoD_v2_ptds (to: CUdeviceptr, from: Handle, offset: usize, size: usize) |default| {
        now(default, between(Side::line(checked_device(to)?), array_side(from, offset)?, size))
    }

    fn cuMemcpyDtoA_v2 | cuMemcpyDtoA_v2_ptds (to: Handle, offset: usize, from: CUdeviceptr, size: usize) |default| {
        now(default, between(array_side(to, offset)?, Side::line(checked_device(from)?), size))
    }

    fn cuMemcpyAtoH_v2 | cuMemcpyAtoH_v2_ptds (to: *mut c_void, from: Handle, offset: usize, size: usize) |default| {
        now(default, between(Side::line(host(to)?), array_side(from, offset)?, size))
    }

    fn cuMemcpyHtoA_v2 | cuMemcpyHtoA_v2_ptds (to: Handle, offset: usize, from: *const c_void, size: usize) |default| {
        now(default, between(array_side(to, offset)?, Side::line(host(from)?), size))
    }

    fn cuMemcpyAtoA_v2 | cuMemcpyAtoA_v2_ptds (to: Handle, to_offset: usize, from: Handle, from_offset: usize, size: usize) |default| {
        now(default, between(array_side(to, to_offset)?, array_side(from, from_offset)?, size))
    }

    fn cuMemcpyAtoHAsync_v2 | cuMemcpyAtoHAsync_v2_ptsz (to: *mut c_void, from: Handle, offset: usize, size: usize, stream: Handle) |default| {
        later(default, stream, between(Side::line(host(to)?), array_side(from, offset)?, size))
    }

    fn cuMemcpyHtoAAsync_v2 | cuMemcpyHtoAAsync_v2_ptsz (to: Handle, offset: usize, from: *const c_void, size: usize, stream: Handle) |default| {
        later(default, stream, between(array_side(to, offset)?, Side::line(host(from)?), size))
    }

    fn cuMemcpyBatchAsync | cuMemcpyBatchAsync_ptsz (to: *const CUdeviceptr, from: *const CUdeviceptr, sizes: *const usize, count: usize, attributes: *const c_void, indices: *const usize, attribute_count: usize, failed: *mut usize, stream: Handle) |default| {
        let _ = (attributes, indices, attribute_count);
        put_if(failed, usize::MAX);
        batch(to, from, sizes, count)?.into_iter().try_for_each(|copy| later(default, stream, copy))
    }

    fn cuMemcpyBatchAsync_v2 | cuMemcpyBatchAsync_v2_ptsz (to: *const CUdeviceptr, from: *const CUdeviceptr, sizes: *const usize, count: usize, attributes: *const c_void, indices: *const usize, attribute_count: usize, stream: Handle) |default| {
        let _ = (attributes, indices, attribute_count);
        batch(to, from, sizes, count)?.into_iter().try_for_each(|copy| later(default, stream, copy))
    }
}
