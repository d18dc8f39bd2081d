//! Semaphores that other APIs may share (`cl_khr_semaphore`, `cl_khr_external_semaphore_opaque_fd`), and the commands of
//! `cl_khr_external_memory`.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, IntoRawFd};

use opencl_sys::*;
use rustix::event::{EventfdFlags, eventfd};

use crate::call::{creators, entry_points};
use crate::core::command::Order;
use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::enqueue::Enqueue;
use crate::core::mem::Mem;
use crate::core::queue::Queue;
use crate::core::semaphore::Semaphore;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;
use crate::memory::own_file;

const TYPE: u64 = CL_SEMAPHORE_TYPE_KHR as u64;
const DEVICES: u64 = CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR as u64;
const OPAQUE_FD: u64 = CL_SEMAPHORE_HANDLE_OPAQUE_FD_KHR as u64;

/// The values of one property; those of a list are ended by zero, which is not among them.
fn values(properties: &[u64], wanted: u64) -> CLResult<Option<Vec<u64>>> {
    let (mut at, mut found) = (0, None);
    while at < properties.len() && properties[at] != 0 {
        let name = properties[at];
        let rest = &properties[at + 1..];
        let values = match name {
            DEVICES | CL_SEMAPHORE_EXPORT_HANDLE_TYPES_KHR => {
                let list: Vec<u64> = rest
                    .iter()
                    .take_while(|&&value| value != 0)
                    .copied()
                    .collect();
                at += list.len() + 2;
                list
            }
            TYPE | OPAQUE_FD => {
                at += 2;
                vec![rest[0]]
            }
            _ => return Err(CL_INVALID_PROPERTY),
        };
        if name == wanted {
            found = Some(values);
        }
    }
    Ok(found)
}

/// The whole list: some of its properties have lists of their own.
fn list_of(properties: In<u64>) -> CLResult<Vec<u64>> {
    let mut length = 0;
    let mut next = || -> CLResult<u64> {
        length += 1;
        let list = properties.list(length).ok_or(CL_INVALID_VALUE)?;
        Ok(list[length - 1])
    };
    loop {
        match next()? {
            0 => break,
            DEVICES | CL_SEMAPHORE_EXPORT_HANDLE_TYPES_KHR => while next()? != 0 {},
            _ => {
                next()?;
            }
        }
    }
    properties.list(length).ok_or(CL_INVALID_VALUE)
}

creators! {
    fn clCreateSemaphoreWithPropertiesKHR(context: *mut c_void, properties: In<u64>) {
        let context = handle::get::<Context>(context)?;
        let list = list_of(properties)?;
        if values(&list, TYPE)? != Some(vec![u64::from(CL_SEMAPHORE_TYPE_BINARY_KHR)]) {
            return Err(CL_INVALID_VALUE);
        }
        for device in values(&list, DEVICES)?.unwrap_or_default() {
            context.device(std::ptr::with_exposed_provenance_mut(device as usize))?;
        }
        let file = match values(&list, OPAQUE_FD)? {
            Some(file) => own_file(file[0] as i32),
            None => eventfd(0, EventfdFlags::CLOEXEC).map_err(|_| CL_OUT_OF_RESOURCES)?,
        };
        Ok(Semaphore::create(context, list, file))
    }
}

entry_points! {
    fn clRetainSemaphoreKHR(semaphore: *mut c_void) {
        handle::retain::<Semaphore>(semaphore)
    }

    fn clReleaseSemaphoreKHR(semaphore: *mut c_void) {
        handle::release::<Semaphore>(semaphore)
    }

    fn clGetSemaphoreInfoKHR(
        semaphore: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>,
    ) {
        let semaphore = handle::get::<Semaphore>(semaphore)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_SEMAPHORE_CONTEXT_KHR => answer.value(semaphore.context.slot.handle()),
            CL_SEMAPHORE_REFERENCE_COUNT_KHR => answer.value(semaphore.slot.references()),
            CL_SEMAPHORE_PROPERTIES_KHR => answer.list(&semaphore.properties),
            CL_SEMAPHORE_PAYLOAD_KHR => answer.value(semaphore.payload()),
            CL_SEMAPHORE_TYPE_KHR => answer.value(CL_SEMAPHORE_TYPE_BINARY_KHR),
            CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR => {
                answer.list(&values(&semaphore.properties, DEVICES)?.unwrap_or_default())
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clGetSemaphoreHandleForTypeKHR(
        semaphore: *mut c_void, device: *mut c_void, kind: u32, size: usize, value: HostOut, size_ret: Out<usize>,
    ) {
        let semaphore = handle::get::<Semaphore>(semaphore)?;
        handle::get::<Device>(device)?;
        let exports = values(&semaphore.properties, CL_SEMAPHORE_EXPORT_HANDLE_TYPES_KHR)?;
        if u64::from(kind) != OPAQUE_FD || !exports.is_some_and(|kinds| kinds.contains(&OPAQUE_FD)) {
            return Err(CL_INVALID_VALUE);
        }
        let copy = rustix::io::dup(&semaphore.file).map_err(|_| CL_OUT_OF_RESOURCES)?;
        let answer = Answer::new(size, value, size_ret).value(copy.as_raw_fd());
        if answer.is_ok() && !value.is_null() {
            // The caller's from now on.
            let _ = copy.into_raw_fd();
        }
        answer
    }

    fn clEnqueueWaitSemaphoresKHR(
        queue: *mut c_void, count: u32, semaphores: In<*mut c_void>, payloads: In<u64>, num_events: u32,
        events: In<cl_event>, event: Out<cl_event>,
    ) {
        let _ = payloads;
        let queue = handle::get::<Queue>(queue)?;
        let list = semaphores.list(count as usize).filter(|list| !list.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let list = handle::get_all::<Semaphore>(&list)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let work = move || list.iter().try_for_each(|semaphore| semaphore.wait());
        enqueue.submit(&queue, CL_COMMAND_SEMAPHORE_WAIT_KHR, Order::Free, Box::new(work))
    }

    fn clEnqueueSignalSemaphoresKHR(
        queue: *mut c_void, count: u32, semaphores: In<*mut c_void>, payloads: In<u64>, num_events: u32,
        events: In<cl_event>, event: Out<cl_event>,
    ) {
        let _ = payloads;
        let queue = handle::get::<Queue>(queue)?;
        let list = semaphores.list(count as usize).filter(|list| !list.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let list = handle::get_all::<Semaphore>(&list)?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        let work = move || list.iter().try_for_each(|semaphore| semaphore.signal());
        enqueue.submit(&queue, CL_COMMAND_SEMAPHORE_SIGNAL_KHR, Order::Free, Box::new(work))
    }

    fn clEnqueueAcquireExternalMemObjectsKHR(
        queue: *mut c_void, count: u32, objects: In<*mut c_void>, num_events: u32, events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        handle::get_all::<Mem>(&objects.list(count as usize).unwrap_or_default())?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        enqueue.submit(&queue, CL_COMMAND_ACQUIRE_EXTERNAL_MEM_OBJECTS_KHR, Order::Free, Box::new(|| Ok(())))
    }

    fn clEnqueueReleaseExternalMemObjectsKHR(
        queue: *mut c_void, count: u32, objects: In<*mut c_void>, num_events: u32, events: In<cl_event>,
        event: Out<cl_event>,
    ) {
        let queue = handle::get::<Queue>(queue)?;
        handle::get_all::<Mem>(&objects.list(count as usize).unwrap_or_default())?;
        let enqueue = Enqueue::new(&queue, num_events, events, event)?;
        enqueue.submit(&queue, CL_COMMAND_RELEASE_EXTERNAL_MEM_OBJECTS_KHR, Order::Free, Box::new(|| Ok(())))
    }
}
