//! Reading, writing, copying and filling buffers.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_COPY_BUFFER, CL_COMMAND_COPY_BUFFER_RECT, CL_COMMAND_FILL_BUFFER,
    CL_COMMAND_MIGRATE_MEM_OBJECTS, CL_COMMAND_READ_BUFFER, CL_COMMAND_READ_BUFFER_RECT,
    CL_COMMAND_WRITE_BUFFER, CL_COMMAND_WRITE_BUFFER_RECT, CL_INVALID_OPERATION,
    CL_MEM_HOST_NO_ACCESS, CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY, cl_bool,
    cl_command_queue, cl_event, cl_mem, cl_mem_migration_flags,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::command::{Command, WaitList, issue};
use crate::core::{Mem, Queue, handle};
use crate::driver::dispatch::{pointer, status};
use runtime::residency::ensure_resident;

/// "`CL_INVALID_OPERATION` if … buffer … has been created with `CL_MEM_HOST_WRITE_ONLY` or `CL_MEM_HOST_NO_ACCESS`."
pub fn check_host_reads(mem: &Mem) -> CLResult<()> {
    let forbidden = mem.flags & (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS) != 0;
    if forbidden {
        Err(CL_INVALID_OPERATION)
    } else {
        Ok(())
    }
}

/// The same for writing.
pub fn check_host_writes(mem: &Mem) -> CLResult<()> {
    let forbidden = mem.flags & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS) != 0;
    if forbidden {
        Err(CL_INVALID_OPERATION)
    } else {
        Ok(())
    }
}

entry! {
    fn clEnqueueReadBuffer(
        caller, queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize,
        to: *mut c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, buffer, blocking)?;
        check_host_reads(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let command = Command::blocking(&queue, CL_COMMAND_READ_BUFFER, &wait, event);
        issue(caller, command, [&*mem], move |place, &[b]| {
            let q = place.queue;
            status!(q, clEnqueueReadBuffer(
                q, b, place.blocking, offset, size, to, place.count, place.list, place.event
            ))
        })
    }

    fn clEnqueueWriteBuffer(
        caller, queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, offset: usize, size: usize,
        from: *const c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, buffer, blocking)?;
        check_host_writes(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let command = Command::blocking(&queue, CL_COMMAND_WRITE_BUFFER, &wait, event);
        issue(caller, command, [&*mem], move |place, &[b]| {
            let q = place.queue;
            status!(q, clEnqueueWriteBuffer(
                q, b, place.blocking, offset, size, from, place.count, place.list, place.event
            ))
        })?;
        mem.mark_written();
        Ok(())
    }

    fn clEnqueueReadBufferRect(
        caller, queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize,
        host_origin: *const usize, region: *const usize, buffer_row: usize, buffer_slice: usize, host_row: usize,
        host_slice: usize, to: *mut c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, buffer, blocking)?;
        check_host_reads(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let buffer_origin = caller.sizes(buffer_origin, 3);
        let host_origin = caller.sizes(host_origin, 3);
        let region = caller.sizes(region, 3);
        let command = Command::blocking(&queue, CL_COMMAND_READ_BUFFER_RECT, &wait, event);
        issue(caller, command, [&*mem], move |place, &[b]| {
            let q = place.queue;
            status!(q, clEnqueueReadBufferRect(
                q, b, place.blocking, buffer_origin.pointer(), host_origin.pointer(), region.pointer(), buffer_row,
                buffer_slice, host_row, host_slice, to, place.count, place.list, place.event
            ))
        })
    }

    fn clEnqueueWriteBufferRect(
        caller, queue: cl_command_queue, buffer: cl_mem, blocking: cl_bool, buffer_origin: *const usize,
        host_origin: *const usize, region: *const usize, buffer_row: usize, buffer_slice: usize, host_row: usize,
        host_slice: usize, from: *const c_void, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, buffer, blocking)?;
        check_host_writes(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let buffer_origin = caller.sizes(buffer_origin, 3);
        let host_origin = caller.sizes(host_origin, 3);
        let region = caller.sizes(region, 3);
        let command = Command::blocking(&queue, CL_COMMAND_WRITE_BUFFER_RECT, &wait, event);
        issue(caller, command, [&*mem], move |place, &[b]| {
            let q = place.queue;
            status!(q, clEnqueueWriteBufferRect(
                q, b, place.blocking, buffer_origin.pointer(), host_origin.pointer(), region.pointer(), buffer_row,
                buffer_slice, host_row, host_slice, from, place.count, place.list, place.event
            ))
        })?;
        mem.mark_written();
        Ok(())
    }

    fn clEnqueueCopyBuffer(
        caller, queue: cl_command_queue, from: cl_mem, to: cl_mem, from_offset: usize, to_offset: usize, size: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let source = handle::borrow::<Mem>(caller, from)?;
        let target = handle::borrow::<Mem>(caller, to)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        ensure_resident([source, target]);
        let command = Command::new(queue, CL_COMMAND_COPY_BUFFER, &wait, event);
        issue(caller, command, [source, target], move |place, &[s, t]| {
            let q = place.queue;
            status!(q, clEnqueueCopyBuffer(
                q, s, t, from_offset, to_offset, size, place.count, place.list, place.event
            ))
        })?;
        target.mark_written();
        Ok(())
    }

    fn clEnqueueCopyBufferRect(
        caller, queue: cl_command_queue, from: cl_mem, to: cl_mem, from_origin: *const usize, to_origin: *const usize,
        region: *const usize, from_row: usize, from_slice: usize, to_row: usize, to_slice: usize,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let source = handle::borrow::<Mem>(caller, from)?;
        let target = handle::borrow::<Mem>(caller, to)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        ensure_resident([source, target]);
        let region = caller.sizes(region, 3);
        let from_origin = caller.sizes(from_origin, 3);
        let to_origin = caller.sizes(to_origin, 3);
        let command = Command::new(queue, CL_COMMAND_COPY_BUFFER_RECT, &wait, event);
        issue(caller, command, [source, target], move |place, &[s, t]| {
            let q = place.queue;
            status!(q, clEnqueueCopyBufferRect(
                q, s, t, from_origin.pointer(), to_origin.pointer(), region.pointer(), from_row, from_slice, to_row,
                to_slice, place.count, place.list, place.event
            ))
        })?;
        target.mark_written();
        Ok(())
    }

    fn clEnqueueFillBuffer(
        caller, queue: cl_command_queue, buffer: cl_mem, pattern: *const c_void, pattern_size: usize, offset: usize,
        size: usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let mem = handle::borrow::<Mem>(caller, buffer)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let pattern = caller.pattern(pattern, pattern_size);
        let command = Command::new(queue, CL_COMMAND_FILL_BUFFER, &wait, event);
        issue(caller, command, [mem], move |place, &[b]| {
            let q = place.queue;
            status!(q, clEnqueueFillBuffer(
                q, b, pattern.pointer(), pattern_size, offset, size, place.count, place.list, place.event
            ))
        })?;
        mem.mark_written();
        Ok(())
    }

    /// Content stays defined unless the program says otherwise, so this writes nothing.
    fn clEnqueueMigrateMemObjects(
        caller, queue: cl_command_queue, count: u32, objects: *const cl_mem, flags: cl_mem_migration_flags,
        wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let mems = caller.list(objects, count as usize).iter().map(|&object| handle::share::<Mem>(object));
        let mems = mems.collect::<CLResult<Vec<_>>>()?;
        ensure_resident(mems.iter().map(|mem| &**mem));
        let wait = WaitList::new(caller, wait_count, wait)?;
        let command = Command::new(queue, CL_COMMAND_MIGRATE_MEM_OBJECTS, &wait, event);
        issue(caller, command, mems, move |place, reals| {
            let q = place.queue;
            let list = pointer(reals);
            status!(q, clEnqueueMigrateMemObjects(q, count, list, flags, place.count, place.list, place.event))
        })
    }
}
