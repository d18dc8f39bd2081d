//! Drivers' extension functions: looked up by name once in each load, and called with their prototypes.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::extension::find_of_device;

fn look_up(known: &AtomicPtr<c_void>, device: *mut c_void, name: &str) -> *mut c_void {
    let address = known.load(Ordering::Acquire);
    if !address.is_null() {
        return address;
    }
    let name = CStr::from_bytes_with_nul(name.as_bytes()).expect("ends with a zero");
    let address = find_of_device(device, name);
    known.store(address, Ordering::Release);
    address
}

macro_rules! functions {
    ($($name:ident: $prototype:ident;)*) => {
        /// Those of one driver, as far as they were asked for.
        #[allow(non_snake_case, reason = "the names are the extensions'")]
        #[derive(Default)]
        pub struct Functions {
            $($name: AtomicPtr<c_void>,)*
        }

        #[allow(non_snake_case, reason = "the names are the extensions'")]
        impl Functions {
            $(
                /// The function of this name that the driver of `device` has, if it has one.
                #[inline]
                pub fn $name(&self, device: *mut c_void) -> opencl_sys::$prototype {
                    let address = look_up(&self.$name, device, concat!(stringify!($name), "\0"));
                    // SAFETY: the extension gives the function of this name this prototype; null is `None`.
                    unsafe { std::mem::transmute::<*mut c_void, opencl_sys::$prototype>(address) }
                }
            )*

            /// The driver is about to go.
            pub fn forget(&self) {
                $(self.$name.store(std::ptr::null_mut(), Ordering::Release);)*
            }
        }
    };
}

functions! {
    clCreateCommandBufferKHR: clCreateCommandBufferKHR_t;
    clFinalizeCommandBufferKHR: clFinalizeCommandBufferKHR_t;
    clReleaseCommandBufferKHR: clReleaseCommandBufferKHR_t;
    clEnqueueCommandBufferKHR: clEnqueueCommandBufferKHR_t;
    clGetCommandBufferInfoKHR: clGetCommandBufferInfoKHR_t;
    clCommandBarrierWithWaitListKHR: clCommandBarrierWithWaitListKHR_t;
    clCommandCopyBufferKHR: clCommandCopyBufferKHR_t;
    clCommandCopyBufferRectKHR: clCommandCopyBufferRectKHR_t;
    clCommandCopyBufferToImageKHR: clCommandCopyBufferToImageKHR_t;
    clCommandCopyImageKHR: clCommandCopyImageKHR_t;
    clCommandCopyImageToBufferKHR: clCommandCopyImageToBufferKHR_t;
    clCommandFillBufferKHR: clCommandFillBufferKHR_t;
    clCommandFillImageKHR: clCommandFillImageKHR_t;
    clCommandNDRangeKernelKHR: clCommandNDRangeKernelKHR_t;
    clCommandSVMMemcpyKHR: clCommandSVMMemcpyKHR_t;
    clCommandSVMMemFillKHR: clCommandSVMMemFillKHR_t;
    clHostMemAllocINTEL: clHostMemAllocINTEL_t;
    clDeviceMemAllocINTEL: clDeviceMemAllocINTEL_t;
    clSharedMemAllocINTEL: clSharedMemAllocINTEL_t;
    clMemFreeINTEL: clMemFreeINTEL_t;
    clMemBlockingFreeINTEL: clMemBlockingFreeINTEL_t;
    clGetMemAllocInfoINTEL: clGetMemAllocInfoINTEL_t;
    clSetKernelArgMemPointerINTEL: clSetKernelArgMemPointerINTEL_t;
    clEnqueueMemFillINTEL: clEnqueueMemFillINTEL_t;
    clEnqueueMemcpyINTEL: clEnqueueMemcpyINTEL_t;
    clEnqueueMigrateMemINTEL: clEnqueueMigrateMemINTEL_t;
    clEnqueueMemAdviseINTEL: clEnqueueMemAdviseINTEL_t;
    clSetKernelArgDevicePointerEXT: clSetKernelArgDevicePointerEXT_t;
    clCreateSemaphoreWithPropertiesKHR: clCreateSemaphoreWithPropertiesKHR_t;
    clEnqueueWaitSemaphoresKHR: clEnqueueWaitSemaphoresKHR_t;
    clEnqueueSignalSemaphoresKHR: clEnqueueSignalSemaphoresKHR_t;
    clGetSemaphoreInfoKHR: clGetSemaphoreInfoKHR_t;
    clReleaseSemaphoreKHR: clReleaseSemaphoreKHR_t;
    clGetSemaphoreHandleForTypeKHR: clGetSemaphoreHandleForTypeKHR_t;
    clReImportSemaphoreSyncFdKHR: clReImportSemaphoreSyncFdKHR_t;
    clEnqueueAcquireExternalMemObjectsKHR: clEnqueueAcquireExternalMemObjectsKHR_t;
    clEnqueueReleaseExternalMemObjectsKHR: clEnqueueReleaseExternalMemObjectsKHR_t;
}

/// Calls an extension function of a context's driver that returns a status: `extended!(context, clMemFreeINTEL(c, memory))`.
/// Same contract as [`super::dispatch::status`].
macro_rules! extended {
    ($context:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        match $context.functions.$function($context.first_device()) {
            Some(function) => {
                // SAFETY: see the macro's contract above.
                $crate::driver::dispatch::check(unsafe { function($($argument),*) })
            }
            None => Err(opencl_sys::CL_INVALID_OPERATION),
        }
    }};
}

/// The same for a function that returns an object or a pointer and takes `errcode_ret` last.
macro_rules! create_extended {
    ($context:expr, $function:ident ( $($argument:expr),* $(,)? )) => {{
        match $context.functions.$function($context.first_device()) {
            Some(function) => {
                let mut code = opencl_sys::CL_SUCCESS;
                // SAFETY: see the contract of `extended!`; `code` outlives the call.
                let object = unsafe { function($($argument,)* &raw mut code) };
                match $crate::driver::dispatch::check(code) {
                    Ok(()) if object.is_null() => Err(opencl_sys::CL_OUT_OF_HOST_MEMORY),
                    Ok(()) => Ok(object),
                    Err(code) => Err(code),
                }
            }
            None => Err(opencl_sys::CL_INVALID_OPERATION),
        }
    }};
}

pub(crate) use {create_extended, extended};
