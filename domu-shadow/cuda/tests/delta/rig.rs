//! The stub driver with a context, and memory in it.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use xl_gpu_cuda::abi::*;
use xl_gpu_cuda::beside::home::Home;
use xl_gpu_cuda::core::memory;

unsafe extern "C" {
    fn cuInit(flags: c_uint) -> CUresult;
    fn cuDeviceGet(device: *mut CUdevice, ordinal: c_int) -> CUresult;
    fn cuDevicePrimaryCtxRetain(context: *mut CUcontext, device: CUdevice) -> CUresult;
    fn cuCtxSetCurrent(context: CUcontext) -> CUresult;
    fn cuMemAlloc_v2(at: *mut CUdeviceptr, bytes: usize) -> CUresult;
    fn cuMemFree_v2(at: CUdeviceptr) -> CUresult;
    fn cuMemcpyHtoD_v2(to: CUdeviceptr, from: *const c_void, bytes: usize) -> CUresult;
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize) -> CUresult;
}

macro_rules! ok {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        // SAFETY: the tests pass what cuda.h asks for.
        let code = unsafe { $name($($argument),*) };
        assert_eq!(code, 0, stringify!($name));
    }};
}

/// The interpreter is slow enough for one test.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one context.
pub fn home() -> Home {
    static DRIVER: Once = Once::new();
    DRIVER.call_once(|| {
        let test = std::env::current_exe().unwrap();
        let driver = test.with_file_name("libxl_gpu_stub_cuda.so");
        // SAFETY: before anything reads it; the test's other threads wait for this one.
        unsafe { std::env::set_var("XL_GPU_REAL_LIBCUDA", driver) };
        ok!(cuInit(0));
    });
    let (mut device, mut context) = (0, null_mut());
    ok!(cuDeviceGet(&raw mut device, 0));
    ok!(cuDevicePrimaryCtxRetain(&raw mut context, device));
    ok!(cuCtxSetCurrent(context));
    Home::new(memory::contexts().pop().unwrap())
}

/// Device memory whose contents begin at any address.
pub struct Memory {
    start: CUdeviceptr,
    shift: usize,
    size: usize,
}

impl Memory {
    pub fn new(size: usize, shift: usize) -> Memory {
        let mut start = 0;
        ok!(cuMemAlloc_v2(&raw mut start, size + shift));
        Memory { start, shift, size }
    }

    pub fn at(&self) -> CUdeviceptr {
        self.start + self.shift as CUdeviceptr
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.size);
        let to = self.at() + at as CUdeviceptr;
        ok!(cuMemcpyHtoD_v2(to, bytes.as_ptr().cast(), bytes.len()));
    }

    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; self.size];
        ok!(cuMemcpyDtoH_v2(
            bytes.as_mut_ptr().cast(),
            self.at(),
            self.size
        ));
        bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        ok!(cuMemFree_v2(self.start));
    }
}

/// xorshift64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// None of them zero.
    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.below(255) as u8 + 1).collect()
    }
}
