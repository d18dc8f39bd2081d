//! Between the program's memory and the device's: reads and writes of buffers, boxes and images.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMMAND_READ_BUFFER, CL_COMMAND_READ_BUFFER_RECT, CL_COMMAND_READ_IMAGE,
    CL_COMMAND_WRITE_BUFFER, CL_COMMAND_WRITE_BUFFER_RECT, CL_COMMAND_WRITE_IMAGE,
    CL_INVALID_VALUE, cl_event,
};

use crate::call::entry_points;
use crate::core::command::Order;
use crate::core::enqueue::Enqueue;
use crate::core::geometry::{self, Extent, Pitched, Side};
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::ffi::{CLResult, HostIn, HostOut, In, Out};
use crate::handle;
use crate::memory::Memory;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Queue and object of a transfer, checked against each other.
fn objects(queue: *mut c_void, mem: *mut c_void, way: Way) -> CLResult<(Arc<Queue>, Arc<Mem>)> {
    let queue = handle::get::<Queue>(queue)?;
    let mem = handle::get::<Mem>(mem)?;
    queue.context.same(&mem.context, "the memory object")?;
    match way {
        Way::Read => mem.host_may_read()?,
        Way::Write => mem.host_may_write()?,
    }
    Ok((queue, mem))
}

/// The command itself: a box between the object and the program's memory.
struct Transfer {
    way: Way,
    mem: Arc<Mem>,
    place: Pitched,
    program: Memory,
    program_place: Pitched,
    extent: Extent,
}

impl Transfer {
    fn run(self) -> CLResult<()> {
        let device = Side {
            memory: &self.mem.memory,
            base: self.mem.offset,
            pitched: self.place,
        };
        let program = Side {
            memory: &self.program,
            base: 0,
            pitched: self.program_place,
        };
        match self.way {
            Way::Read => geometry::copy(program, device, self.extent),
            Way::Write => geometry::copy(device, program, self.extent),
        }
    }

    fn submit(self, queue: &Arc<Queue>, command: u32, enqueue: Enqueue) -> CLResult<()> {
        enqueue.submit(queue, command, Order::Free, Box::new(move || self.run()))
    }
}

/// `len` bytes in a row.
fn row(start: usize, len: usize) -> Pitched {
    Pitched {
        start,
        row: len,
        slice: len,
    }
}

fn linear(
    way: Way,
    mem: Arc<Mem>,
    offset: usize,
    size: usize,
    program: Memory,
) -> CLResult<Transfer> {
    let _ = mem.place(offset, size)?;
    if program.address(0).is_null() {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Transfer {
        way,
        mem,
        place: row(offset, size),
        program,
        program_place: row(0, size),
        extent: [size, 1, 1],
    })
}

/// Origins, region and pitches of a rect call, as the program gave them.
struct Rect {
    buffer_origin: In<usize>,
    host_origin: In<usize>,
    region: In<usize>,
    buffer_pitch: (usize, usize),
    host_pitch: (usize, usize),
}

fn rect(
    way: Way,
    mem: Arc<Mem>,
    rect: &Rect,
    program: impl Fn(usize) -> Memory,
) -> CLResult<Transfer> {
    let extent = rect.region.triple()?;
    let place = Pitched::new(
        rect.buffer_origin.triple()?,
        extent,
        rect.buffer_pitch.0,
        rect.buffer_pitch.1,
    )?;
    geometry::check_end(place, extent, mem.size)?;
    let program_place = Pitched::new(
        rect.host_origin.triple()?,
        extent,
        rect.host_pitch.0,
        rect.host_pitch.1,
    )?;
    let program = program(program_place.end(extent));
    if program.address(0).is_null() || !mem.is_buffer() {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Transfer {
        way,
        mem,
        place,
        program,
        program_place,
        extent,
    })
}

fn image(
    way: Way,
    mem: Arc<Mem>,
    (origin, region): (In<usize>, In<usize>),
    (row, slice): (usize, usize),
    program: impl Fn(usize) -> Memory,
) -> CLResult<Transfer> {
    let shape = mem.shape()?;
    let (origin, region) = (origin.triple()?, region.triple()?);
    let (place, extent) = shape.region(origin, region)?;
    let (program_place, _) = shape.host(region, row, slice)?;
    let program = program(program_place.end(extent));
    if program.address(0).is_null() {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Transfer {
        way,
        mem,
        place,
        program,
        program_place,
        extent,
    })
}

entry_points! {
    fn clEnqueueReadBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        offset: usize,
        size: usize,
        ptr: HostOut,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, buffer, Way::Read)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let transfer = linear(Way::Read, mem, offset, size, Memory::of_program(ptr, size))?;
        transfer.submit(&queue, CL_COMMAND_READ_BUFFER, enqueue)
    }

    fn clEnqueueWriteBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        offset: usize,
        size: usize,
        ptr: HostIn,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, buffer, Way::Write)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let transfer = linear(Way::Write, mem, offset, size, Memory::of_input(ptr, size))?;
        transfer.submit(&queue, CL_COMMAND_WRITE_BUFFER, enqueue)
    }

    fn clEnqueueReadBufferRect(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        buffer_origin: In<usize>,
        host_origin: In<usize>,
        region: In<usize>,
        buffer_row: usize,
        buffer_slice: usize,
        host_row: usize,
        host_slice: usize,
        ptr: HostOut,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, buffer, Way::Read)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let (buffer_pitch, host_pitch) = ((buffer_row, buffer_slice), (host_row, host_slice));
        let asked = Rect { buffer_origin, host_origin, region, buffer_pitch, host_pitch };
        let transfer = rect(Way::Read, mem, &asked, |size| Memory::of_program(ptr, size))?;
        transfer.submit(&queue, CL_COMMAND_READ_BUFFER_RECT, enqueue)
    }

    fn clEnqueueWriteBufferRect(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        buffer_origin: In<usize>,
        host_origin: In<usize>,
        region: In<usize>,
        buffer_row: usize,
        buffer_slice: usize,
        host_row: usize,
        host_slice: usize,
        ptr: HostIn,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, buffer, Way::Write)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let (buffer_pitch, host_pitch) = ((buffer_row, buffer_slice), (host_row, host_slice));
        let asked = Rect { buffer_origin, host_origin, region, buffer_pitch, host_pitch };
        let transfer = rect(Way::Write, mem, &asked, |size| Memory::of_input(ptr, size))?;
        transfer.submit(&queue, CL_COMMAND_WRITE_BUFFER_RECT, enqueue)
    }

    fn clEnqueueReadImage(
        queue: *mut c_void,
        image_handle: *mut c_void,
        blocking: u32,
        origin: In<usize>,
        region: In<usize>,
        row_pitch: usize,
        slice_pitch: usize,
        ptr: HostOut,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, image_handle, Way::Read)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let program = |size| Memory::of_program(ptr, size);
        let transfer = image(Way::Read, mem, (origin, region), (row_pitch, slice_pitch), program)?;
        transfer.submit(&queue, CL_COMMAND_READ_IMAGE, enqueue)
    }

    fn clEnqueueWriteImage(
        queue: *mut c_void,
        image_handle: *mut c_void,
        blocking: u32,
        origin: In<usize>,
        region: In<usize>,
        row_pitch: usize,
        slice_pitch: usize,
        ptr: HostIn,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let (queue, mem) = objects(queue, image_handle, Way::Write)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let program = |size| Memory::of_input(ptr, size);
        let transfer = image(Way::Write, mem, (origin, region), (row_pitch, slice_pitch), program)?;
        transfer.submit(&queue, CL_COMMAND_WRITE_IMAGE, enqueue)
    }
}
