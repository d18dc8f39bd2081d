//! Mapping memory objects into the program, and migrating them.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_MAP_BUFFER, CL_COMMAND_MAP_IMAGE, CL_COMMAND_MIGRATE_MEM_OBJECTS,
    CL_COMMAND_UNMAP_MEM_OBJECT, CL_INVALID_VALUE, cl_event, cl_mem,
};

use crate::call::{creators, entry_points};
use crate::core::command::Order;
use crate::core::enqueue::Enqueue;
use crate::core::geometry::Pitched;
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::ffi::{In, Out};
use crate::handle;

creators! {
    fn clEnqueueMapBuffer(
        queue: *mut c_void,
        buffer: *mut c_void,
        blocking: u32,
        flags: u64,
        offset: usize,
        size: usize,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let mem = handle::get::<Mem>(buffer)?;
        queue.context.same(&mem.context, "the buffer")?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let _ = mem.place(offset, size)?;
        let mapped = mem.map(flags, Pitched { start: offset, row: size, slice: size }, [size, 1, 1])?;
        enqueue.submit(&queue, CL_COMMAND_MAP_BUFFER, Order::Free, mapped.work)?;
        Ok(mapped.address)
    }

    fn clEnqueueMapImage(
        queue: *mut c_void,
        image: *mut c_void,
        blocking: u32,
        flags: u64,
        origin: In<usize>,
        region: In<usize>,
        row_pitch: Out<usize>,
        slice_pitch: Out<usize>,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let mem = handle::get::<Mem>(image)?;
        queue.context.same(&mem.context, "the image")?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?.blocking(blocking);
        let shape = mem.shape()?;
        let counts = shape.counts();
        if row_pitch.is_null() || counts[2] > 1 && slice_pitch.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let (place, extent) = shape.region(origin.triple()?, region.triple()?)?;
        let mapped = mem.map(flags, place, extent)?;
        enqueue.submit(&queue, CL_COMMAND_MAP_IMAGE, Order::Free, mapped.work)?;
        row_pitch.set(mapped.row_pitch);
        // "for a 1D, 1D image buffer, and 2D image … zero if not NULL"; a 1D array's layers are its rows here.
        let layers_are_rows = shape.layers > 0 && shape.height == 0;
        let slice = if layers_are_rows { mapped.row_pitch } else { mapped.slice_pitch };
        slice_pitch.set(if shape.depth > 0 || shape.layers > 0 { slice } else { 0 });
        Ok(mapped.address)
    }
}

entry_points! {
    fn clEnqueueUnmapMemObject(
        queue: *mut c_void,
        mem: *mut c_void,
        address: *mut c_void,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let mem = handle::get::<Mem>(mem)?;
        queue.context.same(&mem.context, "the memory object")?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let work = mem.unmap(address)?;
        enqueue.submit(&queue, CL_COMMAND_UNMAP_MEM_OBJECT, Order::Free, work)
    }

    fn clEnqueueMigrateMemObjects(
        queue: *mut c_void,
        count: u32,
        objects: In<cl_mem>,
        flags: u64,
        num_events: u32,
        events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        let list = objects.list(count as usize).filter(|list| !list.is_empty() && flags <= 3).ok_or(CL_INVALID_VALUE)?;
        let mems = handle::get_all::<Mem>(&list)?;
        mems.iter().try_for_each(|mem| queue.context.same(&mem.context, "a memory object"))?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        // The hint has nothing to do here, but the command holds its objects as any other.
        let work = move || {
            drop(mems);
            Ok(())
        };
        enqueue.submit(&queue, CL_COMMAND_MIGRATE_MEM_OBJECTS, Order::Free, Box::new(work))
    }
}
