//! Within the device: copies and fills.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMMAND_COPY_BUFFER, CL_COMMAND_COPY_BUFFER_RECT, CL_COMMAND_COPY_BUFFER_TO_IMAGE,
    CL_COMMAND_COPY_IMAGE, CL_COMMAND_COPY_IMAGE_TO_BUFFER, CL_COMMAND_FILL_BUFFER,
    CL_COMMAND_FILL_IMAGE, CL_IMAGE_FORMAT_MISMATCH, CL_INVALID_VALUE, CL_MEM_COPY_OVERLAP,
    cl_event,
};

use crate::call::entry_points;
use crate::core::command::Order;
use crate::core::enqueue::Enqueue;
use crate::core::geometry::{self, Extent, Pitched, Side};
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostIn, In, Out};
use crate::handle;

fn object(queue: &Queue, mem: *mut c_void) -> CLResult<Arc<Mem>> {
    let mem = handle::get::<Mem>(mem)?;
    queue.context.same(&mem.context, "the memory object")?;
    Ok(mem)
}

/// A box of an object.
struct Part {
    mem: Arc<Mem>,
    place: Pitched,
}

impl Part {
    fn side(&self) -> Side<'_> {
        Side {
            memory: &self.mem.memory,
            base: self.mem.offset,
            pitched: self.place,
        }
    }

    /// Bytes of a buffer in a row.
    fn linear(mem: Arc<Mem>, offset: usize, size: usize) -> CLResult<Part> {
        let _ = mem.place(offset, size)?;
        Ok(Part {
            mem,
            place: Pitched {
                start: offset,
                row: size,
                slice: size,
            },
        })
    }

    /// The buffer's side of a copy from or to an image: tight rows.
    fn tight(mem: Arc<Mem>, offset: usize, extent: Extent) -> CLResult<Part> {
        let place = Pitched::new([0; 3], extent, 0, 0)?;
        let place = Pitched {
            start: offset,
            ..place
        };
        geometry::check_end(place, extent, mem.size)?;
        if mem.is_buffer() {
            Ok(Part { mem, place })
        } else {
            Err(opencl_sys::CL_INVALID_MEM_OBJECT)
        }
    }
}

fn copy(
    queue: &Arc<Queue>,
    from: Part,
    to: Part,
    extent: Extent,
    command: u32,
    enqueue: Enqueue,
) -> CLResult<()> {
    enqueue.submit(
        queue,
        command,
        Order::Free,
        Box::new(move || geometry::copy(to.side(), from.side(), extent)),
    )
}

entry_points! {
    fn clEnqueueCopyBuffer(
        queue: *mut c_void,
        source: *mut c_void,
        target: *mut c_void,
        source_offset: usize,
        target_offset: usize,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let (source, target) = (object(&queue, source)?, object(&queue, target)?);
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let (from, to) = (source.place(source_offset, size)?, target.place(target_offset, size)?);
        if Arc::ptr_eq(&source.memory, &target.memory) && from.abs_diff(to) < size {
            return Err(CL_MEM_COPY_OVERLAP);
        }
        let (from, to) = (Part::linear(source, source_offset, size)?, Part::linear(target, target_offset, size)?);
        copy(&queue, from, to, [size, 1, 1], CL_COMMAND_COPY_BUFFER, enqueue)
    }

    fn clEnqueueCopyBufferRect(
        queue: *mut c_void,
        source: *mut c_void,
        target: *mut c_void,
        source_origin: In<usize>,
        target_origin: In<usize>,
        region: In<usize>,
        source_row: usize,
        source_slice: usize,
        target_row: usize,
        target_slice: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let (source, target) = (object(&queue, source)?, object(&queue, target)?);
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let extent = region.triple()?;
        let from = Pitched::new(source_origin.triple()?, extent, source_row, source_slice)?;
        let to = Pitched::new(target_origin.triple()?, extent, target_row, target_slice)?;
        geometry::check_end(from, extent, source.size)?;
        geometry::check_end(to, extent, target.size)?;
        let (from, to) = (Part { mem: source, place: from }, Part { mem: target, place: to });
        copy(&queue, from, to, extent, CL_COMMAND_COPY_BUFFER_RECT, enqueue)
    }

    fn clEnqueueCopyImage(
        queue: *mut c_void,
        source: *mut c_void,
        target: *mut c_void,
        source_origin: In<usize>,
        target_origin: In<usize>,
        region: In<usize>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let (source, target) = (object(&queue, source)?, object(&queue, target)?);
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let (from_shape, to_shape) = (source.shape()?, target.shape()?);
        if from_shape.format != to_shape.format {
            return Err(CL_IMAGE_FORMAT_MISMATCH);
        }
        let region = region.triple()?;
        let (from, extent) = from_shape.region(source_origin.triple()?, region)?;
        let (to, _) = to_shape.region(target_origin.triple()?, region)?;
        let (from, to) = (Part { mem: source, place: from }, Part { mem: target, place: to });
        copy(&queue, from, to, extent, CL_COMMAND_COPY_IMAGE, enqueue)
    }

    fn clEnqueueCopyImageToBuffer(
        queue: *mut c_void,
        source: *mut c_void,
        target: *mut c_void,
        origin: In<usize>,
        region: In<usize>,
        target_offset: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let (source, target) = (object(&queue, source)?, object(&queue, target)?);
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let (place, extent) = source.shape()?.region(origin.triple()?, region.triple()?)?;
        let to = Part::tight(target, target_offset, extent)?;
        copy(&queue, Part { mem: source, place }, to, extent, CL_COMMAND_COPY_IMAGE_TO_BUFFER, enqueue)
    }

    fn clEnqueueCopyBufferToImage(
        queue: *mut c_void,
        source: *mut c_void,
        target: *mut c_void,
        source_offset: usize,
        origin: In<usize>,
        region: In<usize>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let (source, target) = (object(&queue, source)?, object(&queue, target)?);
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let (place, extent) = target.shape()?.region(origin.triple()?, region.triple()?)?;
        let from = Part::tight(source, source_offset, extent)?;
        copy(&queue, from, Part { mem: target, place }, extent, CL_COMMAND_COPY_BUFFER_TO_IMAGE, enqueue)
    }

    fn clEnqueueFillBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        pattern: HostIn,
        pattern_size: usize,
        offset: usize,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let mem = object(&queue, buffer)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        // "pattern_size must be one of {1, 2, 4, 8, 16, 32, 64, 128}"; offset and size are multiples of it.
        let size_known = pattern_size.is_power_of_two() && pattern_size <= 128;
        if !size_known || !offset.is_multiple_of(pattern_size) || !size.is_multiple_of(pattern_size) {
            return Err(CL_INVALID_VALUE);
        }
        let pattern = pattern.bytes(pattern_size).ok_or(CL_INVALID_VALUE)?;
        let part = Part::linear(mem, offset, size)?;
        let work = move || geometry::fill(part.side(), &pattern, [size, 1, 1]);
        enqueue.submit(&queue, CL_COMMAND_FILL_BUFFER, Order::Free, Box::new(work))
    }

    fn clEnqueueFillImage(
        queue: *mut c_void,
        image: *mut c_void,
        color: HostIn,
        origin: In<usize>,
        region: In<usize>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let mem = object(&queue, image)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let shape = mem.shape()?;
        let color = color.bytes(16).and_then(|bytes| bytes.try_into().ok()).ok_or(CL_INVALID_VALUE)?;
        let pixel = shape.format.pixel(color)?;
        let (place, extent) = shape.region(origin.triple()?, region.triple()?)?;
        let part = Part { mem, place };
        let work = move || geometry::fill(part.side(), &pixel, extent);
        enqueue.submit(&queue, CL_COMMAND_FILL_IMAGE, Order::Free, Box::new(work))
    }
}
