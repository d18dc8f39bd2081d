//! The library as a program loads it. Each test binary is one process, so one set of options.

use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::Library;

pub struct Cuda(&'static Library);

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
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| {
            // SAFETY: once, before the library reads it.
            unsafe { std::env::set_var("XL_GPU_STUB_CUDA", options) };
            // SAFETY: the library has no constructors.
            unsafe { Library::new(library()) }.unwrap()
        });
        let cuda = Cuda(library);
        cuda.ok("cuInit", (0_u32,));
        cuda
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
        // SAFETY: a function's address is all that is taken.
        let function = unsafe { self.0.get::<*const ()>(name.as_bytes()) };
        let function = *function.unwrap_or_else(|_| panic!("no {name}"));
        // SAFETY: the test gives what cuda.h says.
        unsafe { arguments.call(function) }
    }

    #[track_caller]
    pub fn ok(&self, name: &str, arguments: impl Arguments) {
        assert_eq!(self.call(name, arguments), 0, "{name}");
    }
}
