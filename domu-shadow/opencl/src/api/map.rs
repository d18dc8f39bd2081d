//! Mapping and unmapping buffers and images. See [`crate::core::map`] for what a mapped pointer is.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_COMMAND_MAP_BUFFER, CL_COMMAND_MAP_IMAGE, CL_COMMAND_UNMAP_MEM_OBJECT, CL_FALSE,
    CL_INVALID_CONTEXT, CL_INVALID_MEM_OBJECT, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_MAP_READ,
    CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION, cl_bool, cl_command_queue, cl_event,
    cl_map_flags, cl_mem,
};

use super::entry::entry;
use super::transfer::{check_host_reads, check_host_writes};
use crate::CLResult;
use crate::core::command::transfer::{read, write};
use crate::core::command::{Command, Place, WaitList, issue, marker};
use crate::core::mem::area::Area;
use crate::core::mem::area::Part;
use crate::core::mem::map::Map;
use crate::core::{Caller, Mem, Object, Queue, handle};
use crate::driver::dispatch::status;

fn check_map(queue: &Queue, mem: &Mem, flags: cl_map_flags) -> CLResult<()> {
    const WRITES: cl_map_flags = CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
    if !Arc::ptr_eq(&queue.context, &mem.context) {
        return Err(CL_INVALID_CONTEXT);
    }
    let invalidates_and_more =
        flags & CL_MAP_WRITE_INVALIDATE_REGION != 0 && flags & (CL_MAP_READ | CL_MAP_WRITE) != 0;
    if flags & !(CL_MAP_READ | WRITES) != 0 || invalidates_and_more {
        return Err(CL_INVALID_VALUE);
    }
    if flags & CL_MAP_READ != 0 {
        check_host_reads(mem)?;
    }
    if flags & WRITES != 0 {
        check_host_writes(mem)?;
    }
    Ok(())
}

/// Reads `parts` into the memory that the program sees from their addresses on.
fn bring(place: &Place, mem: *mut c_void, parts: &[(Part, usize)]) -> CLResult<()> {
    if let [(part, to)] = parts {
        return read(place, mem, part, *to as *mut c_void);
    }
    // None, or several: a marker has the event.
    let mut events = Vec::with_capacity(parts.len());
    let answer = parts.iter().try_for_each(|(part, to)| {
        let mut event = std::ptr::null_mut();
        let one = Place {
            blocking: CL_FALSE,
            event: &raw mut event,
            ..*place
        };
        read(&one, mem, part, *to as *mut c_void)?;
        events.push(event);
        Ok(())
    });
    let answer = answer.and_then(|()| behind(place, &events));
    for event in events {
        status!(event, clReleaseEvent(event))?;
    }
    answer
}

/// A marker behind `events`, or where the command stands without any; waits for it if the command is blocking.
fn behind(place: &Place, events: &[cl_event]) -> CLResult<()> {
    let mut end = std::ptr::null_mut();
    let own = if place.event.is_null() {
        &raw mut end
    } else {
        place.event
    };
    let (count, list) = if events.is_empty() {
        (place.count, place.list)
    } else {
        (events.len() as u32, events.as_ptr())
    };
    marker(&Place {
        blocking: CL_FALSE,
        count,
        list,
        event: own,
        ..*place
    })?;
    // SAFETY: the driver has just put the marker's event there.
    let event = unsafe { *own };
    let waited = if place.blocking == CL_FALSE {
        Ok(())
    } else {
        status!(event, clWaitForEvents(1, &raw const event))
    };
    if place.event.is_null() {
        status!(event, clReleaseEvent(event))?;
    }
    waited
}

/// The box that the program passed as `origin` and `region`, if it lies inside the image.
fn area_of(
    caller: &Caller,
    origin: *const usize,
    region: *const usize,
    extent: [usize; 3],
) -> CLResult<Area> {
    let three = |from| <[usize; 3]>::try_from(caller.list(from, 3)).map_err(|_| CL_INVALID_VALUE);
    let area = Area {
        origin: three(origin)?,
        region: three(region)?,
    };
    let fits = |at: usize| {
        let end = area.origin[at].checked_add(area.region[at]);
        area.region[at] > 0 && end.is_some_and(|end| end <= extent[at])
    };
    if (0..3).all(fits) {
        Ok(area)
    } else {
        Err(CL_INVALID_VALUE)
    }
}

entry! {
    fn clEnqueueMapBuffer(
        caller, queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, flags: cl_map_flags, offset: usize,
        size: usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> object {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, buffer, blocking)?;
        if !mem.is_buffer() {
            return Err(CL_INVALID_MEM_OBJECT);
        }
        let wait = WaitList::new(caller, wait_count, wait)?;
        check_map(&queue, &mem, flags)?;
        if size == 0 || offset.checked_add(size).is_none_or(|end| end > mem.size) {
            return Err(CL_INVALID_VALUE);
        }
        mem.ensure_resident();
        let memory = mem.host_address()?;
        let start = mem.origin + offset;
        let invalidates = flags & CL_MAP_WRITE_INVALIDATE_REGION != 0;
        // Bytes that the program is writing through another map stay as they are.
        let parts = if invalidates { Vec::new() } else { mem.maps().unwritten(start..start + size) };
        let parts: Vec<_> = parts
            .into_iter()
            .map(|part| (part.start - mem.origin, part.len()))
            .map(|(offset, len)| (Part::Bytes { offset, len }, memory + offset))
            .collect();
        let command = Command::blocking(&queue, CL_COMMAND_MAP_BUFFER, &wait, event);
        issue(caller, command, [&*mem], move |place, &[real]| bring(place, real, &parts))?;
        mem.maps().add(Map { object: mem.slot().id(), range: start..start + size, area: None, flags });
        Ok((memory + offset) as *mut c_void)
    }

    fn clEnqueueMapImage(
        caller, queue: cl_command_queue, image: cl_mem, blocking: cl_bool, flags: cl_map_flags, origin: *const usize,
        region: *const usize, row_pitch: *mut usize, slice_pitch: *mut usize, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> object {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, image, blocking)?;
        let image = mem.image().ok_or(CL_INVALID_MEM_OBJECT)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        check_map(&queue, &mem, flags)?;
        let area = area_of(caller, origin, region, image.extent)?;
        let (row, slice) = image.map_pitches();
        if row_pitch.is_null() || (slice.is_some() && slice_pitch.is_null()) {
            return Err(CL_INVALID_VALUE);
        }
        mem.ensure_resident();
        let memory = mem.host_address()?;
        let invalidates = flags & CL_MAP_WRITE_INVALIDATE_REGION != 0;
        let parts = if invalidates { Vec::new() } else { mem.maps().unwritten_area(area) };
        let parts: Vec<_> = parts
            .into_iter()
            .map(|area| (image.part(area, image.host), memory + image.offset(image.host, area.origin)))
            .collect();
        let command = Command::blocking(&queue, CL_COMMAND_MAP_IMAGE, &wait, event);
        issue(caller, command, [&*mem], move |place, &[real]| bring(place, real, &parts))?;
        let range = image.host_range(area);
        let pointer = memory + range.start;
        mem.maps().add(Map { object: mem.slot().id(), range, area: Some(area), flags });
        caller.give(row_pitch, row);
        caller.give(slice_pitch, slice.unwrap_or(0));
        Ok(pointer as *mut c_void)
    }

    fn clEnqueueUnmapMemObject(
        caller, queue: cl_command_queue, object: cl_mem, mapped: *mut c_void, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let mem = handle::borrow::<Mem>(caller, object)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        if !Arc::ptr_eq(&queue.context, &mem.context) {
            return Err(CL_INVALID_CONTEXT);
        }
        mem.ensure_resident();
        let memory = mem.host_address()?;
        let offset = (mapped as usize).checked_sub(memory).ok_or(CL_INVALID_VALUE)?;
        let map = mem.maps().remove(mem.slot().id(), mem.origin + offset).ok_or(CL_INVALID_VALUE)?;
        let part = match (mem.image(), map.area) {
            (Some(image), Some(area)) => image.part(area, image.host),
            _ => Part::Bytes { offset, len: map.range.len() },
        };
        let writes = map.writes();
        let command = Command::new(queue, CL_COMMAND_UNMAP_MEM_OBJECT, &wait, event);
        let answer = issue(caller, command, [mem], move |place, &[real]| {
            if writes {
                write(place, real, &part, mapped)
            } else if place.event.is_null() && place.count == 0 {
                Ok(())
            } else {
                marker(place)
            }
        });
        match answer {
            Ok(()) if map.writes() => mem.mark_written(),
            Ok(()) => {}
            // Nothing was written: the region is still mapped.
            Err(_) => mem.maps().add(map),
        }
        answer.map_err(|code| if code == CL_INVALID_OPERATION { CL_INVALID_VALUE } else { code })
    }
}
