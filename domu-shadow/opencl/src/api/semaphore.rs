//! Semaphores (`cl_khr_semaphore`), and their handles for other APIs (`cl_khr_external_semaphore`).

use std::ffi::{c_int, c_void};

use opencl_sys::{
    CL_COMMAND_SEMAPHORE_SIGNAL_KHR, CL_COMMAND_SEMAPHORE_WAIT_KHR, CL_INVALID_OPERATION,
    CL_SEMAPHORE_CONTEXT_KHR, CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR, CL_SEMAPHORE_PROPERTIES_KHR,
    CL_SEMAPHORE_REFERENCE_COUNT_KHR, cl_command_queue, cl_context, cl_device_id, cl_event,
    cl_semaphore_khr,
};

use super::entry::entry;
use super::properties;
use crate::CLResult;
use crate::core::command::{Command, Kept, Operands, Repeat, WaitList, issue_once};
use crate::core::{Context, Device, Object, Queue, Semaphore, handle};
use crate::driver::dispatch::check;
use crate::driver::functions::extended;
use crate::driver::query;

impl Operands for Vec<&Semaphore> {
    type Reals = Vec<*mut c_void>;
    type Kept = KeptSemaphores;
    fn reals(&self) -> Vec<*mut c_void> {
        self.iter().map(|semaphore| semaphore.real.get()).collect()
    }
    fn keep(&self) -> KeptSemaphores {
        KeptSemaphores(self.iter().copied().map(handle::shared).collect())
    }
}

/// Semaphores that a command waits for or signals.
pub struct KeptSemaphores(Vec<std::sync::Arc<Semaphore>>);

impl Kept for KeptSemaphores {
    type Reals = Vec<*mut c_void>;
    fn with(&self, enqueue: &dyn Fn(&Vec<*mut c_void>) -> CLResult<()>) -> CLResult<()> {
        enqueue(
            &self
                .0
                .iter()
                .map(|semaphore| semaphore.real.get())
                .collect(),
        )
    }
    fn mark_written(&self) {}
    fn ensure_resident(&self) {}
}

/// The two commands, which differ in name and type.
macro_rules! commands {
    ($($name:ident: $kind:ident;)*) => {
        entry! {$(
            fn $name(
                caller, queue: cl_command_queue, count: u32, semaphores: *const cl_semaphore_khr, payloads: *const u64,
                wait_count: u32, wait: *const cl_event, event: *mut cl_event,
            ) -> status {
                let queue = handle::borrow::<Queue>(caller, queue)?;
                let list = caller.list(semaphores, count as usize).iter();
                let list = list.map(|&semaphore| handle::borrow::<Semaphore>(caller, semaphore));
                let list = list.collect::<CLResult<Vec<_>>>()?;
                let wait = WaitList::new(caller, wait_count, wait)?;
                let context = &queue.context;
                let function = context.functions.$name(context.first_device()).ok_or(CL_INVALID_OPERATION)?;
                let command = Command::new(queue, $kind, &wait, event);
                issue_once(caller, command, Repeat::MustRun, list, move |place, reals| {
                    let list = if semaphores.is_null() { std::ptr::null() } else { reals.as_ptr() };
                    let (q, events) = (place.queue, place.count);
                    // SAFETY: the handles are the driver's own and live; the payloads are the program's.
                    check(unsafe { function(q, count, list, payloads, events, place.list, place.event) })
                })
            }
        )*}
    };
}

commands! {
    clEnqueueWaitSemaphoresKHR: CL_COMMAND_SEMAPHORE_WAIT_KHR;
    clEnqueueSignalSemaphoresKHR: CL_COMMAND_SEMAPHORE_SIGNAL_KHR;
}

entry! {
    fn clCreateSemaphoreWithPropertiesKHR(caller, context: cl_context, list: *const u64) -> object {
        let context = handle::share::<Context>(context)?;
        let list = properties::read(caller, list)?;
        let real = list.as_ref().map(|list| list.real.clone());
        let given = list.map(|list| list.given).unwrap_or_default();
        Ok(handle::publish(Semaphore::create(context, given, real.as_deref())?))
    }

    fn clRetainSemaphoreKHR(_caller, semaphore: cl_semaphore_khr) -> status {
        handle::retain::<Semaphore>(semaphore)
    }

    #[drains]
    fn clReleaseSemaphoreKHR(_caller, semaphore: cl_semaphore_khr) -> status {
        handle::release::<Semaphore>(semaphore)
    }

    fn clGetSemaphoreInfoKHR(caller, answer, semaphore: cl_semaphore_khr, parameter: u32) -> info {
        let semaphore = handle::borrow::<Semaphore>(caller, semaphore)?;
        let real = semaphore.real.get();
        let ask = |size, value, size_ret| {
            extended!(semaphore.context, clGetSemaphoreInfoKHR(real, parameter, size, value, size_ret))
        };
        match parameter {
            CL_SEMAPHORE_CONTEXT_KHR => answer.handle(semaphore.context.slot().handle()),
            CL_SEMAPHORE_REFERENCE_COUNT_KHR => answer.uint(semaphore.slot().references()),
            CL_SEMAPHORE_PROPERTIES_KHR => answer.longs(Some(semaphore.properties.iter().copied())),
            CL_SEMAPHORE_DEVICE_HANDLE_LIST_KHR => {
                let devices = query::handles(&ask)?;
                answer.handles(devices.into_iter().map(|device| semaphore.context.shadow_of(device as u64)))
            }
            _ => answer.driver(&ask),
        }
    }

    fn clGetSemaphoreHandleForTypeKHR(
        caller, semaphore: cl_semaphore_khr, device: cl_device_id, kind: u32, size: usize, handle: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let semaphore = handle::borrow::<Semaphore>(caller, semaphore)?;
        let (s, d) = (semaphore.real.get(), handle::borrow::<Device>(caller, device)?.real.get());
        extended!(semaphore.context, clGetSemaphoreHandleForTypeKHR(s, d, kind, size, handle, size_ret))
    }

    fn clReImportSemaphoreSyncFdKHR(
        caller, semaphore: cl_semaphore_khr, properties: *mut u64, file: c_int,
    ) -> status {
        let semaphore = handle::borrow::<Semaphore>(caller, semaphore)?;
        let s = semaphore.real.get();
        extended!(semaphore.context, clReImportSemaphoreSyncFdKHR(s, properties, file))
    }
}

/// The extensions' function of this name, null if it is none.
pub fn function(name: &[u8]) -> *mut c_void {
    match name {
        b"clCreateSemaphoreWithPropertiesKHR" => clCreateSemaphoreWithPropertiesKHR as *mut c_void,
        b"clEnqueueWaitSemaphoresKHR" => clEnqueueWaitSemaphoresKHR as *mut c_void,
        b"clEnqueueSignalSemaphoresKHR" => clEnqueueSignalSemaphoresKHR as *mut c_void,
        b"clGetSemaphoreInfoKHR" => clGetSemaphoreInfoKHR as *mut c_void,
        b"clRetainSemaphoreKHR" => clRetainSemaphoreKHR as *mut c_void,
        b"clReleaseSemaphoreKHR" => clReleaseSemaphoreKHR as *mut c_void,
        b"clGetSemaphoreHandleForTypeKHR" => clGetSemaphoreHandleForTypeKHR as *mut c_void,
        b"clReImportSemaphoreSyncFdKHR" => clReImportSemaphoreSyncFdKHR as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}
