//! A small OpenCL program to test with: everything goes through the C functions, as a program's calls do.
//!
//! Needs an OpenCL driver with a CPU or GPU device; pocl does.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod events;
pub mod moving;
pub mod native;

use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};

pub use opencl_sys::*;

/// Calls an exported function: `call!(clFinish(queue))`.
macro_rules! call {
    ($function:ident ( $($argument:expr),* $(,)? )) => {{
        let function = opencl::table::dispatch().$function.expect("every function is there");
        // SAFETY: the tests pass what the specification asks for, or what it says is an error.
        unsafe { function($($argument),*) }
    }};
}

/// Calls a function that creates an object and checks its code: `make!(clCreateBuffer(…))`, without `errcode_ret`.
macro_rules! make {
    ($function:ident ( $($argument:expr),* $(,)? )) => {{
        let mut code = i32::MIN;
        let object = $crate::common::call!($function($($argument,)* &raw mut code));
        assert_eq!(code, opencl_sys::CL_SUCCESS, stringify!($function));
        assert!(!object.is_null());
        object
    }};
}

/// Calls a function and checks that it succeeds.
macro_rules! ok {
    ($function:ident ( $($argument:expr),* $(,)? )) => {
        assert_eq!($crate::common::call!($function($($argument),*)), opencl_sys::CL_SUCCESS, stringify!($function))
    };
}

#[allow(unused_imports, reason = "each test binary uses a part")]
pub(crate) use {call, make, ok};

pub type Handle = *mut c_void;

/// One device with a context and a queue.
pub struct Gpu {
    pub platform: Handle,
    pub device: Handle,
    pub context: Handle,
    pub queue: Handle,
}

// SAFETY: OpenCL's objects may be used from any thread.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl Gpu {
    pub fn new() -> Gpu {
        Gpu::with_queue(CL_QUEUE_PROFILING_ENABLE)
    }

    pub fn with_queue(properties: u64) -> Gpu {
        let mut platform = null_mut();
        ok!(clGetPlatformIDs(1, &raw mut platform, null_mut()));
        Gpu::on(platform, properties)
    }

    /// On the first device of a platform.
    pub fn of_platform(platform: Handle) -> Gpu {
        Gpu::on(platform, CL_QUEUE_PROFILING_ENABLE)
    }

    fn on(platform: Handle, properties: u64) -> Gpu {
        let mut device = null_mut();
        ok!(clGetDeviceIDs(
            platform,
            CL_DEVICE_TYPE_ALL,
            1,
            &raw mut device,
            null_mut()
        ));
        let list = [CL_CONTEXT_PLATFORM, platform as isize, 0];
        let context = make!(clCreateContext(
            list.as_ptr(),
            1,
            &raw const device,
            None,
            null_mut()
        ));
        let queue = make!(clCreateCommandQueue(context, device, properties));
        Gpu {
            platform,
            device,
            context,
            queue,
        }
    }

    /// Another queue of the same context.
    pub fn beside(&self) -> Gpu {
        ok!(clRetainContext(self.context));
        let queue = make!(clCreateCommandQueue(self.context, self.device, 0));
        Gpu {
            platform: self.platform,
            device: self.device,
            context: self.context,
            queue,
        }
    }

    pub fn buffer(&self, flags: u64, bytes: usize) -> Handle {
        make!(clCreateBuffer(self.context, flags, bytes, null_mut()))
    }

    pub fn program(&self, source: &str) -> Handle {
        let mut text = source.as_ptr().cast();
        let length = source.len();
        make!(clCreateProgramWithSource(
            self.context,
            1,
            &raw mut text,
            &raw const length
        ))
    }

    pub fn built(&self, source: &str) -> Handle {
        let program = self.program(source);
        ok!(clBuildProgram(program, 0, null(), null(), None, null_mut()));
        program
    }

    pub fn kernel(&self, source: &str, name: &str) -> Handle {
        let program = self.built(source);
        let name = CString::new(name).unwrap();
        let kernel = make!(clCreateKernel(program, name.as_ptr()));
        ok!(clReleaseProgram(program));
        kernel
    }

    pub fn write<T: Copy>(&self, buffer: Handle, offset: usize, values: &[T]) {
        let bytes = size_of_val(values);
        ok!(clEnqueueWriteBuffer(
            self.queue,
            buffer,
            CL_TRUE,
            offset,
            bytes,
            values.as_ptr().cast(),
            0,
            null(),
            null_mut()
        ));
    }

    pub fn read<T: Copy + Default>(&self, buffer: Handle, offset: usize, count: usize) -> Vec<T> {
        let mut values = vec![T::default(); count];
        let bytes = size_of_val(values.as_slice());
        ok!(clEnqueueReadBuffer(
            self.queue,
            buffer,
            CL_TRUE,
            offset,
            bytes,
            values.as_mut_ptr().cast(),
            0,
            null(),
            null_mut()
        ));
        values
    }

    pub fn run(&self, kernel: Handle, items: usize) {
        ok!(clEnqueueNDRangeKernel(
            self.queue,
            kernel,
            1,
            null(),
            &raw const items,
            null(),
            0,
            null(),
            null_mut()
        ));
    }

    pub fn finish(&self) {
        ok!(clFinish(self.queue));
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        ok!(clReleaseCommandQueue(self.queue));
        ok!(clReleaseContext(self.context));
    }
}

/// Sets a by-value or buffer argument.
pub fn set<T>(kernel: Handle, index: u32, value: &T) {
    ok!(clSetKernelArg(
        kernel,
        index,
        size_of::<T>(),
        std::ptr::from_ref(value).cast()
    ));
}

/// `a[i] += b[i] + plus`, and a kernel that takes `__local` memory.
pub const ADD: &str = "
__kernel void add(__global float *a, __global const float *b, const float plus) {
    size_t i = get_global_id(0);
    a[i] += b[i] + plus;
}
__kernel void twice(__global uint *a, __local uint *scratch) {
    size_t i = get_global_id(0), l = get_local_id(0);
    scratch[l] = a[i];
    a[i] = scratch[l] * 2;
}";

/// A counter that every run raises by one in each element.
pub const COUNT: &str = "__kernel void count(__global uint *a) { a[get_global_id(0)] += 1; }";

/// A program's binary for its only device.
pub fn binary_of(program: Handle) -> Vec<u8> {
    let mut size = 0_usize;
    ok!(clGetProgramInfo(
        program,
        CL_PROGRAM_BINARY_SIZES,
        8,
        (&raw mut size).cast(),
        null_mut()
    ));
    let mut binary = vec![0_u8; size];
    let mut place = binary.as_mut_ptr();
    ok!(clGetProgramInfo(
        program,
        CL_PROGRAM_BINARIES,
        8,
        (&raw mut place).cast(),
        null_mut()
    ));
    binary
}
