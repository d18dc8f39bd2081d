//! Reading, writing, copying and filling images.

use std::ffi::c_void;

use opencl_sys::{
    CL_COMMAND_COPY_BUFFER_TO_IMAGE, CL_COMMAND_COPY_IMAGE, CL_COMMAND_COPY_IMAGE_TO_BUFFER,
    CL_COMMAND_FILL_IMAGE, CL_COMMAND_READ_IMAGE, CL_COMMAND_WRITE_IMAGE, cl_bool,
    cl_command_queue, cl_event, cl_mem,
};

use super::entry::entry;
use super::transfer::{check_host_reads, check_host_writes};
use crate::core::command::{Command, WaitList, issue};
use crate::core::{Mem, Queue, handle};
use crate::driver::dispatch::status;
use runtime::residency::ensure_resident;

entry! {
    fn clEnqueueReadImage(
        caller, queue: cl_command_queue, image: cl_mem, blocking: cl_bool, origin: *const usize, region: *const usize,
        row_pitch: usize, slice_pitch: usize, to: *mut c_void, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, image, blocking)?;
        check_host_reads(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let region = caller.sizes(region, 3);
        let origin = caller.sizes(origin, 3);
        let command = Command::blocking(&queue, CL_COMMAND_READ_IMAGE, &wait, event);
        issue(caller, command, [&*mem], move |place, &[i]| {
            let q = place.queue;
            status!(q, clEnqueueReadImage(
                q, i, place.blocking, origin.pointer(), region.pointer(), row_pitch, slice_pitch, to, place.count,
                place.list, place.event
            ))
        })
    }

    fn clEnqueueWriteImage(
        caller, queue: cl_command_queue, image: cl_mem, blocking: cl_bool, origin: *const usize, region: *const usize,
        row_pitch: usize, slice_pitch: usize, from: *const c_void, wait_count: u32, wait: *const cl_event,
        event: *mut cl_event,
    ) -> status {
        let queue = handle::lend::<Queue>(caller, queue, blocking)?;
        let mem = handle::lend::<Mem>(caller, image, blocking)?;
        check_host_writes(&mem)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let region = caller.sizes(region, 3);
        let origin = caller.sizes(origin, 3);
        let command = Command::blocking(&queue, CL_COMMAND_WRITE_IMAGE, &wait, event);
        issue(caller, command, [&*mem], move |place, &[i]| {
            let q = place.queue;
            status!(q, clEnqueueWriteImage(
                q, i, place.blocking, origin.pointer(), region.pointer(), row_pitch, slice_pitch, from, place.count,
                place.list, place.event
            ))
        })?;
        mem.mark_written();
        Ok(())
    }

    fn clEnqueueCopyImage(
        caller, queue: cl_command_queue, from: cl_mem, to: cl_mem, from_origin: *const usize, to_origin: *const usize,
        region: *const usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let source = handle::borrow::<Mem>(caller, from)?;
        let target = handle::borrow::<Mem>(caller, to)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        ensure_resident([source, target]);
        let region = caller.sizes(region, 3);
        let from_origin = caller.sizes(from_origin, 3);
        let to_origin = caller.sizes(to_origin, 3);
        let command = Command::new(queue, CL_COMMAND_COPY_IMAGE, &wait, event);
        issue(caller, command, [source, target], move |place, &[s, t]| {
            let q = place.queue;
            status!(q, clEnqueueCopyImage(
                q, s, t, from_origin.pointer(), to_origin.pointer(), region.pointer(), place.count, place.list,
                place.event
            ))
        })?;
        target.mark_written();
        Ok(())
    }

    fn clEnqueueCopyImageToBuffer(
        caller, queue: cl_command_queue, from: cl_mem, to: cl_mem, origin: *const usize, region: *const usize,
        offset: usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let source = handle::borrow::<Mem>(caller, from)?;
        let target = handle::borrow::<Mem>(caller, to)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        ensure_resident([source, target]);
        let region = caller.sizes(region, 3);
        let origin = caller.sizes(origin, 3);
        let command = Command::new(queue, CL_COMMAND_COPY_IMAGE_TO_BUFFER, &wait, event);
        issue(caller, command, [source, target], move |place, &[s, t]| {
            let q = place.queue;
            status!(q, clEnqueueCopyImageToBuffer(
                q, s, t, origin.pointer(), region.pointer(), offset, place.count, place.list, place.event
            ))
        })?;
        target.mark_written();
        Ok(())
    }

    fn clEnqueueCopyBufferToImage(
        caller, queue: cl_command_queue, from: cl_mem, to: cl_mem, offset: usize, origin: *const usize,
        region: *const usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let source = handle::borrow::<Mem>(caller, from)?;
        let target = handle::borrow::<Mem>(caller, to)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        ensure_resident([source, target]);
        let region = caller.sizes(region, 3);
        let origin = caller.sizes(origin, 3);
        let command = Command::new(queue, CL_COMMAND_COPY_BUFFER_TO_IMAGE, &wait, event);
        issue(caller, command, [source, target], move |place, &[s, t]| {
            let q = place.queue;
            status!(q, clEnqueueCopyBufferToImage(
                q, s, t, offset, origin.pointer(), region.pointer(), place.count, place.list, place.event
            ))
        })?;
        target.mark_written();
        Ok(())
    }

    fn clEnqueueFillImage(
        caller, queue: cl_command_queue, image: cl_mem, color: *const c_void, origin: *const usize,
        region: *const usize, wait_count: u32, wait: *const cl_event, event: *mut cl_event,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let mem = handle::borrow::<Mem>(caller, image)?;
        let wait = WaitList::new(caller, wait_count, wait)?;
        mem.ensure_resident();
        let region = caller.sizes(region, 3);
        let origin = caller.sizes(origin, 3);
        let color = caller.pattern(color, 16);
        let command = Command::new(queue, CL_COMMAND_FILL_IMAGE, &wait, event);
        issue(caller, command, [mem], move |place, &[i]| {
            let q = place.queue;
            status!(q, clEnqueueFillImage(
                q, i, color.pointer(), origin.pointer(), region.pointer(), place.count, place.list, place.event
            ))
        })?;
        mem.mark_written();
        Ok(())
    }
}
