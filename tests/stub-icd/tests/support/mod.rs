//! A program that uses the stub driver directly, without an ICD loader.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod process;

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_void};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::*;
use process::library_path;

type GetExtension = unsafe extern "C" fn(*const c_char) -> *mut c_void;
type GetPlatforms = unsafe extern "C" fn(u32, *mut cl_platform_id, *mut u32) -> cl_int;
type State = unsafe extern "C" fn(*mut c_char, usize) -> usize;
type Configure = unsafe extern "C" fn(*const c_char) -> i32;

/// The loaded driver.
pub struct Stub {
    library: Library,
    pub platform: cl_platform_id,
    pub device: cl_device_id,
}

/// Calls an entry of the table that stands at the start of a handle. The tests pass what the specification wants, or
/// handles that the stub is to catch.
macro_rules! cl {
    ($handle:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $crate::support::table($handle).$function.expect(stringify!($function));
        // SAFETY: see the macro's description.
        unsafe { function($($argument),*) }
    }};
}

/// As `cl!` for functions that end with `errcode_ret`: a `Result`.
#[allow(unused_macros, reason = "each test file uses its own part")]
macro_rules! make {
    ($handle:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let mut code = 0;
        let made = cl!($handle, $function($($argument,)* &raw mut code));
        if code == 0 { Ok(made) } else { Err(code) }
    }};
}

/// The table at the start of a handle.
pub fn table(handle: *mut c_void) -> &'static cl_icd_dispatch {
    assert!(!handle.is_null());
    // SAFETY: every handle of the stub starts with its table (`cl_khr_icd`), also for a while after its release.
    unsafe { &**handle.cast::<*const cl_icd_dispatch>() }
}

impl Stub {
    pub fn load() -> Stub {
        Self::try_load().expect("the stub has a platform")
    }

    /// The error of `clIcdGetPlatformIDsKHR` if there is no platform.
    pub fn try_load() -> Result<Stub, cl_int> {
        // SAFETY: the stub's initialisers do nothing; the symbols have these prototypes.
        let (library, get_platforms) = unsafe {
            let library = Library::open(Some(library_path()), RTLD_NOW | RTLD_LOCAL).unwrap();
            let get_extension = *library
                .get::<GetExtension>(b"clGetExtensionFunctionAddress\0")
                .unwrap();
            let address = get_extension(c"clIcdGetPlatformIDsKHR".as_ptr());
            (
                library,
                std::mem::transmute::<*mut c_void, GetPlatforms>(address),
            )
        };
        let (mut platform, mut device) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: room for one platform.
        let code = unsafe { get_platforms(1, &raw mut platform, std::ptr::null_mut()) };
        if code != 0 {
            return Err(code);
        }
        let null = std::ptr::null_mut();
        assert_eq!(
            0,
            cl!(
                platform,
                clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &raw mut device, null)
            )
        );
        Ok(Stub {
            library,
            platform,
            device,
        })
    }

    /// `dlclose`.
    pub fn unload(self) {
        self.library.close().unwrap();
    }

    /// The lines of `xl_gpu_stub_state`.
    pub fn state(&self) -> Vec<String> {
        // SAFETY: the hook's prototype; the buffer has the size that is passed.
        let text = unsafe {
            let state = *self.library.get::<State>(b"xl_gpu_stub_state\0").unwrap();
            let mut text = vec![0_u8; state(std::ptr::null_mut(), 0) + 64];
            let size = state(text.as_mut_ptr().cast(), text.len());
            text.truncate(size);
            text
        };
        String::from_utf8(text)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    pub fn configure(&self, options: &str) -> i32 {
        let options = CString::new(options).unwrap();
        // SAFETY: the hook's prototype, and a C string.
        unsafe {
            (self
                .library
                .get::<Configure>(b"xl_gpu_stub_configure\0")
                .unwrap())(options.as_ptr())
        }
    }

    pub fn violations(&self) -> Vec<String> {
        self.state()
            .iter()
            .filter_map(|line| line.strip_prefix("violation "))
            .map(str::to_owned)
            .collect()
    }

    /// Objects held, by kind.
    pub fn held(&self) -> BTreeMap<String, u64> {
        let held = |line: &String| {
            let (kind, count) = line.strip_prefix("held ")?.split_once(' ')?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        self.state().iter().filter_map(held).collect()
    }

    pub fn context(&self) -> cl_context {
        let null = std::ptr::null_mut();
        make!(
            self.platform,
            clCreateContext(std::ptr::null(), 1, &raw const self.device, None, null)
        )
        .unwrap()
    }

    pub fn queue(&self, context: cl_context, properties: u64) -> cl_command_queue {
        make!(
            context,
            clCreateCommandQueue(context, self.device, properties)
        )
        .unwrap()
    }

    pub fn buffer(&self, context: cl_context, size: usize) -> cl_mem {
        make!(
            context,
            clCreateBuffer(context, CL_MEM_READ_WRITE, size, std::ptr::null_mut())
        )
        .unwrap()
    }

    pub fn program(&self, context: cl_context, source: &str) -> cl_program {
        let mut text = source.as_ptr().cast::<c_char>();
        let length = source.len();
        make!(
            context,
            clCreateProgramWithSource(context, 1, &raw mut text, &raw const length)
        )
        .unwrap()
    }

    pub fn build(&self, program: cl_program, options: &str) -> cl_int {
        let options = CString::new(options).unwrap();
        let null = std::ptr::null_mut();
        cl!(
            program,
            clBuildProgram(program, 0, std::ptr::null(), options.as_ptr(), None, null)
        )
    }

    /// A kernel of a program built from `source`; the program is released.
    pub fn kernel(&self, context: cl_context, source: &str, name: &str) -> cl_kernel {
        let program = self.program(context, source);
        assert_eq!(self.build(program, "-cl-kernel-arg-info"), 0);
        let name = CString::new(name).unwrap();
        let kernel = make!(program, clCreateKernel(program, name.as_ptr())).unwrap();
        assert_eq!(0, cl!(program, clReleaseProgram(program)));
        kernel
    }

    pub fn set<T>(&self, kernel: cl_kernel, index: u32, value: &T) -> cl_int {
        cl!(
            kernel,
            clSetKernelArg(
                kernel,
                index,
                size_of::<T>(),
                std::ptr::from_ref(value).cast()
            )
        )
    }

    pub fn launch(&self, queue: cl_command_queue, kernel: cl_kernel, items: usize) -> cl_int {
        let (none, null) = (std::ptr::null(), std::ptr::null_mut());
        cl!(
            queue,
            clEnqueueNDRangeKernel(
                queue,
                kernel,
                1,
                none,
                &raw const items,
                none,
                0,
                std::ptr::null(),
                null
            )
        )
    }

    /// As `launch`, with the command's event.
    pub fn launch_event(
        &self,
        queue: cl_command_queue,
        kernel: cl_kernel,
        waits: &[cl_event],
    ) -> cl_event {
        let (none, mut event, items) = (std::ptr::null(), std::ptr::null_mut(), 1_usize);
        let list = if waits.is_empty() {
            std::ptr::null()
        } else {
            waits.as_ptr()
        };
        let count = waits.len() as u32;
        let code = cl!(
            queue,
            clEnqueueNDRangeKernel(
                queue,
                kernel,
                1,
                none,
                &raw const items,
                none,
                count,
                list,
                &raw mut event
            )
        );
        assert_eq!(code, 0);
        event
    }

    pub fn read(&self, queue: cl_command_queue, buffer: cl_mem, count: usize) -> Vec<u32> {
        let mut values = vec![0_u32; count];
        let (at, null) = (values.as_mut_ptr().cast(), std::ptr::null_mut());
        let code = cl!(
            queue,
            clEnqueueReadBuffer(
                queue,
                buffer,
                CL_TRUE,
                0,
                count * 4,
                at,
                0,
                std::ptr::null(),
                null
            )
        );
        assert_eq!(code, 0);
        values
    }

    pub fn write(&self, queue: cl_command_queue, buffer: cl_mem, values: &[u32]) {
        let (from, null, size) = (
            values.as_ptr().cast(),
            std::ptr::null_mut(),
            size_of_val(values),
        );
        let code = cl!(
            queue,
            clEnqueueWriteBuffer(
                queue,
                buffer,
                CL_TRUE,
                0,
                size,
                from,
                0,
                std::ptr::null(),
                null
            )
        );
        assert_eq!(code, 0);
    }

    /// The status of an event.
    pub fn status(&self, event: cl_event) -> cl_int {
        let mut status = 0;
        let (size, null) = (size_of::<cl_int>(), std::ptr::null_mut());
        let at = (&raw mut status).cast();
        assert_eq!(
            0,
            cl!(
                event,
                clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, size, at, null)
            )
        );
        status
    }

    pub fn device_text(&self, name: cl_device_info) -> String {
        let mut text = vec![0_u8; 256];
        let mut size = 0;
        let device = self.device;
        let code = cl!(
            device,
            clGetDeviceInfo(device, name, 256, text.as_mut_ptr().cast(), &raw mut size)
        );
        assert_eq!(code, 0);
        text.truncate(size - 1);
        String::from_utf8(text).unwrap()
    }
}
