//! Objects that only their driver can have: a move is refused while there are any, with the reason, and works once they are gone.

use std::ffi::{CStr, c_void};
use std::os::fd::IntoRawFd;
use std::ptr::{null, null_mut};

use crate::common::moving::there_and_back;
use crate::common::*;
use crate::rig::in_child;
use runtime::mover::{self, MoveError};

const WORDS: usize = 64;
const BYTES: usize = WORDS * 4;
const INCREASE: &str = "__kernel void increase(__global uint *a, const uint by) {}";

/// An extension's function by its name, for the prototype that it is assigned to.
fn find(gpu: &Gpu, name: &CStr) -> *mut c_void {
    let address = call!(clGetExtensionFunctionAddressForPlatform(
        gpu.platform,
        name.as_ptr()
    ));
    assert!(!address.is_null(), "{name:?}");
    address
}

/// Calls an extension's function: `extended!(gpu, clMemFreeINTEL as clMemFreeINTEL_t (…))`.
macro_rules! extended {
    ($gpu:expr, $name:ident as $type:ident ( $($argument:expr),* $(,)? )) => {{
        let name = concat!(stringify!($name), "\0").as_bytes();
        let address = find($gpu, CStr::from_bytes_with_nul(name).unwrap());
        // SAFETY: the extension gives the function of this name this prototype; the tests pass what it asks for.
        unsafe { std::mem::transmute::<*mut c_void, $type>(address).unwrap()($($argument),*) }
    }};
}

fn refused(reason: &str) {
    match mover::begin() {
        Err(MoveError::Blocked(why)) => assert!(why.contains(reason), "{why}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a move began with {reason}"),
    }
}

/// A kernel whose first argument is set by `set_pointer` to what is gone after a move; what it does then is right again.
fn outlives_its_argument(gpu: &Gpu, kernel: Handle) {
    for round in 1..4 {
        there_and_back(1);
        let buffer = gpu.buffer(CL_MEM_READ_WRITE, BYTES);
        gpu.write(buffer, 0, &[round; WORDS]);
        set(kernel, 0, &buffer);
        set(kernel, 1, &2_u32);
        gpu.run(kernel, WORDS);
        assert_eq!(gpu.read::<u32>(buffer, 0, WORDS), [round + 2; WORDS]);
        ok!(clReleaseMemObject(buffer));
    }
    ok!(clReleaseKernel(kernel));
}

#[test]
fn unified_shared_memory() {
    let options = "nvidia,extension=cl_intel_unified_shared_memory";
    in_child("blocking::unified_shared_memory", options, || {
        let gpu = Gpu::new();
        there_and_back(0);
        let mut code = -1;
        let mut allocate = || {
            let memory = extended!(
                &gpu,
                clSharedMemAllocINTEL as clSharedMemAllocINTEL_t(
                    gpu.context,
                    gpu.device,
                    null(),
                    BYTES,
                    0,
                    &raw mut code
                )
            );
            assert_eq!(code, CL_SUCCESS);
            memory
        };
        let (one, two) = (allocate(), allocate());
        let kernel = gpu.kernel(INCREASE, "increase");
        let argument = |memory: *const c_void| {
            extended!(
                &gpu,
                clSetKernelArgMemPointerINTEL as clSetKernelArgMemPointerINTEL_t(kernel, 0, memory)
            )
        };
        assert_eq!(argument(one), CL_SUCCESS);
        set(kernel, 1, &1_u32);
        gpu.run(kernel, WORDS);
        let free =
            |memory| extended!(&gpu, clMemFreeINTEL as clMemFreeINTEL_t(gpu.context, memory));
        refused("unified shared memory");
        // Refused by the driver: the memory is still there.
        // SAFETY: one past the allocation's first byte, not followed.
        assert_ne!(free(unsafe { two.byte_add(1) }), CL_SUCCESS);
        assert_eq!(free(two), CL_SUCCESS);
        refused("unified shared memory");
        gpu.finish();
        assert_eq!(free(one), CL_SUCCESS);
        outlives_its_argument(&gpu, kernel);
    });
}

#[test]
fn device_address() {
    let options = "nvidia,extension=cl_ext_buffer_device_address";
    in_child("blocking::device_address", options, || {
        let gpu = Gpu::new();
        let list = [CL_MEM_DEVICE_PRIVATE_ADDRESS_EXT, 1, 0];
        let buffer = make!(clCreateBufferWithProperties(
            gpu.context,
            list.as_ptr(),
            CL_MEM_READ_WRITE,
            BYTES,
            null_mut()
        ));
        let mut address = 0_u64;
        ok!(clGetMemObjectInfo(
            buffer,
            CL_MEM_DEVICE_ADDRESS_EXT,
            8,
            (&raw mut address).cast(),
            null_mut()
        ));
        let kernel = gpu.kernel(INCREASE, "increase");
        let code = extended!(
            &gpu,
            clSetKernelArgDevicePointerEXT as clSetKernelArgDevicePointerEXT_t(kernel, 0, address)
        );
        assert_eq!(code, CL_SUCCESS);
        set(kernel, 1, &4_u32);
        gpu.write(buffer, 0, &[1_u32; WORDS]);
        gpu.run(kernel, WORDS);
        refused("device address");
        assert_eq!(gpu.read::<u32>(buffer, 0, WORDS), [5; WORDS]);
        ok!(clReleaseMemObject(buffer));
        outlives_its_argument(&gpu, kernel);
    });
}

#[test]
fn semaphore() {
    let options = "nvidia,extension=cl_khr_semaphore";
    in_child("blocking::semaphore", options, || {
        let gpu = Gpu::new();
        let list = [
            u64::from(CL_SEMAPHORE_TYPE_KHR),
            CL_SEMAPHORE_TYPE_BINARY_KHR.into(),
            0,
        ];
        let mut code = -1;
        let semaphore = extended!(
            &gpu,
            clCreateSemaphoreWithPropertiesKHR as clCreateSemaphoreWithPropertiesKHR_t(
                gpu.context,
                list.as_ptr(),
                &raw mut code
            )
        );
        assert_eq!(code, CL_SUCCESS);
        refused("semaphore");
        let release = || {
            extended!(
                &gpu,
                clReleaseSemaphoreKHR as clReleaseSemaphoreKHR_t(semaphore)
            )
        };
        assert_eq!(release(), CL_SUCCESS);
        assert_eq!(release(), CL_INVALID_SEMAPHORE_KHR);
        there_and_back(1);
    });
}

#[test]
fn external_memory() {
    let options = "nvidia,extension=cl_khr_external_memory";
    in_child("blocking::external_memory", options, || {
        let gpu = Gpu::new();
        let folder = std::path::PathBuf::from(crate::rig::node());
        let path = folder.with_file_name("shared");
        std::fs::write(&path, [3; BYTES]).unwrap();
        let options = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path);
        let file = options.unwrap().into_raw_fd();
        let list = [
            u64::from(CL_EXTERNAL_MEMORY_HANDLE_OPAQUE_FD_KHR),
            file as u64,
            0,
        ];
        let buffer = make!(clCreateBufferWithProperties(
            gpu.context,
            list.as_ptr(),
            CL_MEM_READ_WRITE,
            BYTES,
            null_mut()
        ));
        refused("cl_khr_external_memory");
        assert_eq!(gpu.read::<u8>(buffer, 0, BYTES), [3; BYTES]);
        ok!(clReleaseMemObject(buffer));
        there_and_back(1);
    });
}
