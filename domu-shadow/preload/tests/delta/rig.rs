//! A device to try the engine on, called through its dispatch table as the shadow does: no `libOpenCL` takes part.
//! `XL_GPU_PLATFORM` picks the platform by a part of its name, else the first with a device is taken.

#![allow(
    dead_code,
    reason = "the tests and the benchmark share it, each uses a part"
)]

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use opencl::driver::{dispatch, loader, query};
use opencl_sys::cl_icd::cl_icd_dispatch;

/// A driver's function, which every OpenCL 1.2 driver has; its first handle is the object it is looked up in.
macro_rules! call {
    ($object:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        let table: &opencl_sys::cl_icd::cl_icd_dispatch = table($object);
        let function = table.$function.expect(stringify!($function));
        // SAFETY: the handles are the rig's own and live, pointers valid for what the call does.
        let code = unsafe { function($($argument),*) };
        assert_eq!(code, opencl_sys::CL_SUCCESS, stringify!($function));
    }};
}

/// The same for a function that creates an object.
macro_rules! make {
    ($object:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        let table: &opencl_sys::cl_icd::cl_icd_dispatch = table($object);
        let function = table.$function.expect(stringify!($function));
        let mut code = 0;
        // SAFETY: the handles are the rig's own and live, pointers valid for what the call does.
        let made = unsafe { function($($argument,)* &raw mut code) };
        assert_eq!(code, opencl_sys::CL_SUCCESS, stringify!($function));
        made
    }};
}

pub fn table(object: *mut c_void) -> &'static cl_icd_dispatch {
    dispatch::table_of(object)
}

/// Lives as long as the process: its handles are never released.
#[derive(Clone, Copy)]
pub struct Rig {
    pub device: *mut c_void,
    pub context: *mut c_void,
    program: *mut c_void,
}

// SAFETY: OpenCL handles belong to no thread.
unsafe impl Send for Rig {}

#[derive(Clone, Copy)]
pub struct Queue(pub *mut c_void);

// SAFETY: as above.
unsafe impl Send for Queue {}

#[derive(Clone, Copy)]
pub struct Buffer {
    pub real: *mut c_void,
    pub size: usize,
}

// SAFETY: as above.
unsafe impl Send for Buffer {}

pub struct Kernel(*mut c_void);

// SAFETY: as above; arguments are set by one thread.
unsafe impl Send for Kernel {}

impl Rig {
    /// The device, with the kernels of `source` built for it.
    pub fn open(source: &str) -> Rig {
        // One at a time: drivers initialise a device on its first use, and pocl 3 not in one step.
        static OPENING: Mutex<()> = Mutex::new(());
        let _one = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = std::env::var("XL_GPU_PLATFORM").unwrap_or_default();
        let device = loader::platforms()
            .into_iter()
            .filter(|&platform| {
                let name = query::platform_text(platform, opencl_sys::CL_PLATFORM_NAME);
                name.is_ok_and(|name| name.contains(&wanted))
            })
            .find_map(|platform| {
                let all = u64::from(u32::MAX);
                loader::devices(platform, all).first().copied()
            })
            .expect("an OpenCL driver (pocl-opencl-icd will do)");
        let context = make!(
            device,
            clCreateContext(null(), 1, &raw const device, None, null_mut())
        );
        let mut text = source.as_ptr().cast();
        let length = source.len();
        let program = make!(
            context,
            clCreateProgramWithSource(context, 1, &raw mut text, &raw const length)
        );
        call!(
            program,
            clBuildProgram(
                program,
                1,
                &raw const device,
                c"".as_ptr(),
                None,
                null_mut()
            )
        );
        Rig {
            device,
            context,
            program,
        }
    }

    pub fn device_name(&self) -> String {
        query::device_text(self.device, opencl_sys::CL_DEVICE_NAME).unwrap_or_default()
    }

    pub fn queue(&self) -> Queue {
        Queue(make!(
            self.context,
            clCreateCommandQueue(self.context, self.device, 0)
        ))
    }

    pub fn buffer(&self, size: usize) -> Buffer {
        let flags = opencl_sys::CL_MEM_READ_WRITE;
        let real = make!(
            self.context,
            clCreateBuffer(self.context, flags, size, null_mut())
        );
        Buffer { real, size }
    }

    /// A buffer over memory of the host, which must outlive it.
    pub fn buffer_over(&self, memory: *mut u8, size: usize) -> Buffer {
        let flags = opencl_sys::CL_MEM_READ_WRITE | opencl_sys::CL_MEM_USE_HOST_PTR;
        let real = make!(
            self.context,
            clCreateBuffer(self.context, flags, size, memory.cast())
        );
        Buffer { real, size }
    }

    pub fn kernel(&self, name: &CStr) -> Kernel {
        Kernel(make!(
            self.program,
            clCreateKernel(self.program, name.as_ptr())
        ))
    }
}

impl Buffer {
    pub fn release(self) {
        call!(self.real, clReleaseMemObject(self.real));
    }
}

impl Kernel {
    pub fn set<T: Copy>(&self, index: u32, value: T) -> &Kernel {
        let value = &raw const value;
        call!(
            self.0,
            clSetKernelArg(self.0, index, size_of::<T>(), value.cast())
        );
        self
    }
}

impl Queue {
    pub fn launch(&self, kernel: &Kernel, items: usize) {
        let items = &raw const items;
        call!(
            self.0,
            clEnqueueNDRangeKernel(
                self.0,
                kernel.0,
                1,
                null(),
                items,
                null(),
                0,
                null(),
                null_mut()
            )
        );
    }

    pub fn finish(&self) {
        call!(self.0, clFinish(self.0));
    }

    pub fn flush(&self) {
        call!(self.0, clFlush(self.0));
    }

    pub fn fill(&self, buffer: Buffer, value: u8) {
        let value = &raw const value;
        call!(
            self.0,
            clEnqueueFillBuffer(
                self.0,
                buffer.real,
                value.cast(),
                1,
                0,
                buffer.size,
                0,
                null(),
                null_mut()
            )
        );
        self.finish();
    }

    pub fn write(&self, buffer: Buffer, offset: usize, bytes: &[u8]) {
        let source = bytes.as_ptr().cast();
        call!(
            self.0,
            clEnqueueWriteBuffer(
                self.0,
                buffer.real,
                1,
                offset,
                bytes.len(),
                source,
                0,
                null(),
                null_mut()
            )
        );
    }

    /// Starts reading (`target` stays valid until the queue is finished), or reads.
    pub fn read_to(
        &self,
        buffer: Buffer,
        offset: usize,
        size: usize,
        target: *mut u8,
        block: bool,
    ) {
        call!(
            self.0,
            clEnqueueReadBuffer(
                self.0,
                buffer.real,
                u32::from(block),
                offset,
                size,
                target.cast(),
                0,
                null(),
                null_mut()
            )
        );
    }

    pub fn read(&self, buffer: Buffer) -> Vec<u8> {
        let mut bytes = vec![0; buffer.size];
        self.read_to(buffer, 0, buffer.size, bytes.as_mut_ptr(), true);
        bytes
    }
}

/// Xorshift: enough for tests, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}
