//! The library as a program loads it. Each test binary is one process, so one set of options.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// One test at a time: what one has freed, another's allocation would get; a capture forbids calls of other threads.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Cuda {
    library: &'static Library,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// Arguments of a C function.
pub trait Arguments {
    /// # Safety
    /// `function` has these arguments.
    unsafe fn call(self, function: *const ()) -> i32;
}

macro_rules! arguments {
    ($($name:ident)*) => {
        impl<$($name),*> Arguments for ($($name,)*) {
            unsafe fn call(self, function: *const ()) -> i32 {
                #[allow(non_snake_case)]
                let ($($name,)*) = self;
                // SAFETY: as the caller says.
                unsafe {
                    std::mem::transmute::<*const (), unsafe extern "C" fn($($name),*) -> i32>(function)($($name),*)
                }
            }
        }
    };
}

arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);
arguments!(A B C D E F G H I);
arguments!(A B C D E F G H I J);
arguments!(A B C D E F G H I J K);

fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().join("libxl_gpu_stub_cuda.so")
}

#[allow(dead_code, reason = "not every test needs all")]
impl Cuda {
    pub fn load(options: &str) -> Cuda {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let library = LIBRARY.get_or_init(|| {
            // SAFETY: once, before the library reads it.
            unsafe { std::env::set_var("XL_GPU_STUB_CUDA", options) };
            // SAFETY: the library has no constructors.
            unsafe { Library::new(library()) }.unwrap()
        });
        let cuda = Cuda {
            library,
            _alone: Some(alone),
        };
        cuda.ok("cuInit", (0_u32,));
        cuda
    }

    /// What was loaded before, for another thread of the same test.
    pub fn again() -> Cuda {
        Cuda {
            library: LIBRARY.get().unwrap(),
            _alone: None,
        }
    }

    pub fn address(&self, name: &str) -> *const () {
        // SAFETY: a function's address is all that is taken.
        let function = unsafe { self.library.get::<*const ()>(name.as_bytes()) };
        *function.unwrap_or_else(|_| panic!("no {name}"))
    }

    /// With the first device's primary context current.
    pub fn with_context(options: &str) -> Cuda {
        let cuda = Cuda::load(options);
        let mut context = 0_usize;
        cuda.ok("cuDevicePrimaryCtxRetain", (&raw mut context, 0_i32));
        cuda.ok("cuCtxSetCurrent", (context,));
        cuda
    }

    pub fn call(&self, name: &str, arguments: impl Arguments) -> i32 {
        let function = self.address(name);
        // SAFETY: the test gives what cuda.h says.
        unsafe { arguments.call(function) }
    }

    #[track_caller]
    pub fn ok(&self, name: &str, arguments: impl Arguments) {
        assert_eq!(self.call(name, arguments), 0, "{name}");
    }
}

#[allow(dead_code, reason = "not every test needs all")]
impl Cuda {
    pub fn allocate(&self, size: usize) -> u64 {
        let mut at = 0_u64;
        self.ok("cuMemAlloc_v2", (&raw mut at, size));
        at
    }

    /// Reserves addresses, at `wanted` if it is not 0 and free.
    pub fn reserve(&self, size: usize, wanted: u64) -> u64 {
        let mut at = 0_u64;
        self.ok(
            "cuMemAddressReserve",
            (&raw mut at, size, 0_usize, wanted, 0_u64),
        );
        at
    }
}

/// `CUmemAllocationProp`.
#[allow(dead_code, reason = "not every test needs all")]
#[repr(C)]
pub struct Properties([u32; 8]);

#[allow(dead_code, reason = "not every test needs all")]
impl Properties {
    pub fn of_device(device: u32, handle_types: u32) -> Properties {
        Properties([1, handle_types, 1, device, 0, 0, 0, 0])
    }
}

/// `CUmemAccessDesc`.
#[allow(dead_code, reason = "not every test needs all")]
#[repr(C)]
pub struct Access([u32; 3]);

#[allow(dead_code, reason = "not every test needs all")]
impl Access {
    pub fn of_device(device: u32, flags: u32) -> Access {
        Access([1, device, flags])
    }
}
