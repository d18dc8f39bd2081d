//! The driver's objects that the engine owns: released when dropped, and errors that name the call.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use channel::image::Api;
use opencl_sys::{
    CL_FALSE, CL_MEM_READ_WRITE, CL_QUEUE_PROFILING_ENABLE, cl_command_queue_properties,
};

use runtime::delta::DriverError;
use runtime::delta::device::{self, HostCopy, Result};

use crate::CLResult;
use crate::driver::dispatch::{create, status};
use crate::driver::query;

/// Names the call that failed.
pub(super) fn named<T>(call: &'static str, result: CLResult<T>) -> Result<T> {
    result.map_err(|code| failed(call, code))
}

fn failed(call: &'static str, code: i32) -> DriverError {
    let api = Api::OPENCL;
    DriverError { api, call, code }
}

/// An owned object and its release function.
macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $release:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(*mut c_void);

        // SAFETY: OpenCL objects belong to no thread; only `clSetKernelArg` is not thread-safe, and kernels are
        // used through `&mut Engine` alone.
        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                if let Err(code) = status!(self.0, $release(self.0)) {
                    log::warn!("{} failed with error {code}", stringify!($release));
                }
            }
        }
    };
}

owned!(Memory, clReleaseMemObject);
owned!(Queue, clReleaseCommandQueue);
owned!(Program, clReleaseProgram);
owned!(Kernel, clReleaseKernel);
owned!(Event, clReleaseEvent);

impl Memory {
    pub(super) fn real(&self) -> *mut c_void {
        self.0
    }

    /// Device memory of `size` bytes.
    pub(super) fn new(context: *mut c_void, size: usize) -> Result<Memory> {
        let made = create!(
            context,
            clCreateBuffer(context, CL_MEM_READ_WRITE, size, null_mut())
        );
        named("clCreateBuffer", made).map(Memory)
    }
}

impl Queue {
    pub(super) fn real(&self) -> *mut c_void {
        self.0
    }

    /// An in-order queue.
    pub(super) fn new(context: *mut c_void, device: *mut c_void, profiling: bool) -> Result<Queue> {
        let properties: cl_command_queue_properties = if profiling {
            CL_QUEUE_PROFILING_ENABLE
        } else {
            0
        };
        let made = create!(context, clCreateCommandQueue(context, device, properties));
        named("clCreateCommandQueue", made).map(Queue)
    }

    pub(super) fn flush(&self) -> Result<()> {
        named("clFlush", status!(self.0, clFlush(self.0)))
    }

    pub(super) fn finish(&self) -> Result<()> {
        named("clFinish", status!(self.0, clFinish(self.0)))
    }

    /// Starts copying `data` to `memory` from byte `offset` on.
    pub(super) fn write<'h, T: Copy>(
        &self,
        memory: &Memory,
        offset: usize,
        data: &'h [T],
    ) -> Result<HostCopy<'h, Event>> {
        let (source, size) = (data.as_ptr().cast(), size_of_val(data));
        let mut event = null_mut();
        let event_at = &raw mut event;
        let written = status!(
            self.0,
            clEnqueueWriteBuffer(
                self.0,
                memory.0,
                CL_FALSE,
                offset,
                size,
                source,
                0,
                null(),
                event_at
            )
        );
        named("clEnqueueWriteBuffer", written)?;
        let transfer = HostCopy::new(Event(event));
        self.flush().map(|()| transfer)
    }

    /// Starts copying the start of `memory` into `bytes`, after `after`.
    pub(super) fn read<'h>(
        &self,
        memory: &Memory,
        bytes: &'h mut [u8],
        after: Option<&Event>,
    ) -> Result<HostCopy<'h, Event>> {
        let wait = after.map(|event| event.0);
        let (count, list) = wait_list(&wait);
        let (target, size) = (bytes.as_mut_ptr().cast(), bytes.len());
        let mut event = null_mut();
        let event_at = &raw mut event;
        let read = status!(
            self.0,
            clEnqueueReadBuffer(
                self.0, memory.0, CL_FALSE, 0, size, target, count, list, event_at
            )
        );
        named("clEnqueueReadBuffer", read)?;
        let transfer = HostCopy::new(Event(event));
        self.flush().map(|()| transfer)
    }

    /// Starts copying `size` bytes of `memory` from `offset` to `target`, after `after`.
    ///
    /// # Safety
    /// `target` must stay valid for `size` bytes of writes until the event is complete.
    pub(super) unsafe fn start_read(
        &self,
        memory: &Memory,
        offset: usize,
        size: usize,
        target: *mut u8,
        after: &Event,
    ) -> Result<Event> {
        let wait = Some(after.0);
        let (count, list) = wait_list(&wait);
        let mut event = null_mut();
        let (target, event_at) = (target.cast(), &raw mut event);
        let read = status!(
            self.0,
            clEnqueueReadBuffer(
                self.0, memory.0, CL_FALSE, offset, size, target, count, list, event_at
            )
        );
        named("clEnqueueReadBuffer", read).map(|()| Event(event))
    }

    /// Starts `groups` work-groups of `items` work-items.
    pub(super) fn launch(&self, kernel: &Kernel, groups: usize, items: usize) -> Result<Event> {
        let (global, local) = (groups * items, items);
        let (global, local) = (&raw const global, &raw const local);
        let mut event = null_mut();
        let event_at = &raw mut event;
        let launched = status!(
            self.0,
            clEnqueueNDRangeKernel(
                self.0,
                kernel.0,
                1,
                null(),
                global,
                local,
                0,
                null(),
                event_at
            )
        );
        named("clEnqueueNDRangeKernel", launched).map(|()| Event(event))
    }
}

fn wait_list(event: &Option<*mut c_void>) -> (u32, *const *mut c_void) {
    match event {
        Some(event) => (1, &raw const *event),
        None => (0, null()),
    }
}

impl device::Event for Event {
    fn wait(&self) -> Result<()> {
        let list = &raw const self.0;
        named("clWaitForEvents", status!(self.0, clWaitForEvents(1, list)))
    }

    fn is_complete(&self) -> Result<bool> {
        match named("clGetEventInfo", query::event_status(self.0))? {
            code if code < 0 => Err(failed("enqueued command", code)),
            status => Ok(status == opencl_sys::CL_COMPLETE),
        }
    }

    fn device_ns(&self) -> u64 {
        let ask = |parameter| {
            query::number(&|size, value, size_ret| {
                let event = self.0;
                status!(
                    event,
                    clGetEventProfilingInfo(event, parameter, size, value, size_ret)
                )
            })
        };
        let start = ask(opencl_sys::CL_PROFILING_COMMAND_START);
        let end = ask(opencl_sys::CL_PROFILING_COMMAND_END);
        start
            .and_then(|start| end.map(|end| end.saturating_sub(start)))
            .unwrap_or(0)
    }
}

/// Builds `source` for one device.
///
/// # Errors
/// The error, and the compiler's log where there is one.
pub(super) fn build(
    context: *mut c_void,
    device: *mut c_void,
    source: &str,
) -> std::result::Result<Program, (DriverError, String)> {
    let mut text = source.as_ptr().cast();
    let length = source.len();
    let (text, lengths) = (&raw mut text, &raw const length);
    let made = create!(
        context,
        clCreateProgramWithSource(context, 1, text, lengths)
    );
    let program = named("clCreateProgramWithSource", made)
        .map(Program)
        .map_err(|error| (error, String::new()))?;
    let real = program.0;
    let devices = &raw const device;
    let built = status!(
        real,
        clBuildProgram(real, 1, devices, c"".as_ptr(), None, null_mut())
    );
    match named("clBuildProgram", built) {
        Ok(()) => Ok(program),
        Err(error) => {
            let log = query::text(&|size, value, size_ret| {
                let parameter = opencl_sys::CL_PROGRAM_BUILD_LOG;
                status!(
                    real,
                    clGetProgramBuildInfo(real, device, parameter, size, value, size_ret)
                )
            });
            Err((error, log.unwrap_or_default()))
        }
    }
}

impl Kernel {
    pub(super) fn new(program: &Program, name: &std::ffi::CStr) -> Result<Kernel> {
        let made = create!(program.0, clCreateKernel(program.0, name.as_ptr()));
        named("clCreateKernel", made).map(Kernel)
    }

    /// Sets a scalar, a vector, or a memory object's handle.
    pub(super) fn set<T: Copy>(&self, index: u32, value: T) -> Result<()> {
        let value = &raw const value;
        let set = status!(
            self.0,
            clSetKernelArg(self.0, index, size_of::<T>(), value.cast())
        );
        named("clSetKernelArg", set)
    }
}
