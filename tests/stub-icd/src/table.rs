//! The dispatch table that every handle starts with; or, with `icd2`, the tag of `cl_khr_icd` 2.0 in its place.

use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::OnceLock;

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::{api, driver};

/// Every entry absent: sharing with graphics APIs stays so.
// SAFETY: the table holds only `Option<fn>` (zero is `None`) and integers.
const EMPTY: cl_icd_dispatch = unsafe { std::mem::zeroed() };

static TABLE: OnceLock<cl_icd_dispatch> = OnceLock::new();
static TAGGED: OnceLock<cl_icd_dispatch> = OnceLock::new();

/// `CL_ICD2_TAG_KHR` (cl_ext.h).
const ICD2_TAG: usize = 0x4F50_454E_434C_3331;

/// The table; later entries than the pretended OpenCL version has are absent.
pub fn table() -> &'static cl_icd_dispatch {
    TABLE.get_or_init(|| build(driver::options().spec))
}

/// What handles start with: all entries, or with `icd2` none but the two tags.
pub fn of_handles() -> &'static cl_icd_dispatch {
    if !driver::options().icd2 {
        return table();
    }
    TAGGED.get_or_init(|| {
        let mut table = EMPTY;
        for offset in [
            offset_of!(cl_icd_dispatch, clGetPlatformIDs),
            offset_of!(cl_icd_dispatch, clUnloadCompiler),
        ] {
            // SAFETY: a function pointer is there, for which no value but null is wrong as long as nobody calls it.
            unsafe {
                (&raw mut table)
                    .byte_add(offset)
                    .cast::<usize>()
                    .write(ICD2_TAG)
            };
        }
        table
    })
}

/// Whether there is an entry point of this name.
pub fn is_entry_point(name: &str) -> bool {
    NAMES.contains(&name)
}

macro_rules! entries {
    ($(($major:literal, $minor:literal) { $($module:ident::$name:ident,)* })*) => {
        const NAMES: &[&str] = &[$($(stringify!($name),)*)*];

        fn build(spec: (u32, u32)) -> cl_icd_dispatch {
            let mut table = EMPTY;
            $(if spec >= ($major, $minor) {
                $(table.$name = Some(api::$module::$name);)*
            })*
            table
        }

        /// The entry point of this name, null where the pretended version has none.
        pub fn address(name: &str) -> *mut c_void {
            $($(if name == stringify!($name) {
                return table().$name.map_or(std::ptr::null_mut(), |function| function as *mut c_void);
            })*)*
            std::ptr::null_mut()
        }
    };
}

entries! {
    (1, 0) {
        platform::clGetPlatformIDs,
        platform::clGetPlatformInfo,
        device::clGetDeviceIDs,
        device::clGetDeviceInfo,
        context::clCreateContext,
        context::clCreateContextFromType,
        context::clRetainContext,
        context::clReleaseContext,
        context::clGetContextInfo,
        queue::clCreateCommandQueue,
        queue::clRetainCommandQueue,
        queue::clReleaseCommandQueue,
        queue::clGetCommandQueueInfo,
        queue::clSetCommandQueueProperty,
        mem::clCreateBuffer,
        image::clCreateImage2D,
        image::clCreateImage3D,
        mem::clRetainMemObject,
        mem::clReleaseMemObject,
        image::clGetSupportedImageFormats,
        mem::clGetMemObjectInfo,
        image::clGetImageInfo,
        sampler::clCreateSampler,
        sampler::clRetainSampler,
        sampler::clReleaseSampler,
        sampler::clGetSamplerInfo,
        program::clCreateProgramWithSource,
        program::clCreateProgramWithBinary,
        program::clRetainProgram,
        program::clReleaseProgram,
        build::clBuildProgram,
        build::clUnloadCompiler,
        program::clGetProgramInfo,
        program::clGetProgramBuildInfo,
        kernel::clCreateKernel,
        kernel::clCreateKernelsInProgram,
        kernel::clRetainKernel,
        kernel::clReleaseKernel,
        kernel::clSetKernelArg,
        kernel::clGetKernelInfo,
        kernel::clGetKernelWorkGroupInfo,
        event::clWaitForEvents,
        event::clGetEventInfo,
        event::clRetainEvent,
        event::clReleaseEvent,
        event::clGetEventProfilingInfo,
        queue::clFlush,
        queue::clFinish,
        transfer::clEnqueueReadBuffer,
        transfer::clEnqueueWriteBuffer,
        copy::clEnqueueCopyBuffer,
        transfer::clEnqueueReadImage,
        transfer::clEnqueueWriteImage,
        copy::clEnqueueCopyImage,
        copy::clEnqueueCopyImageToBuffer,
        copy::clEnqueueCopyBufferToImage,
        map::clEnqueueMapBuffer,
        map::clEnqueueMapImage,
        map::clEnqueueUnmapMemObject,
        launch::clEnqueueNDRangeKernel,
        launch::clEnqueueTask,
        launch::clEnqueueNativeKernel,
        sync::clEnqueueMarker,
        sync::clEnqueueWaitForEvents,
        sync::clEnqueueBarrier,
        lookup::clGetExtensionFunctionAddress,
    }
    (1, 1) {
        event::clSetEventCallback,
        mem::clCreateSubBuffer,
        mem::clSetMemObjectDestructorCallback,
        event::clCreateUserEvent,
        event::clSetUserEventStatus,
        transfer::clEnqueueReadBufferRect,
        transfer::clEnqueueWriteBufferRect,
        copy::clEnqueueCopyBufferRect,
    }
    (1, 2) {
        device::clCreateSubDevices,
        device::clRetainDevice,
        device::clReleaseDevice,
        image::clCreateImage,
        build::clCreateProgramWithBuiltInKernels,
        build::clCompileProgram,
        build::clLinkProgram,
        build::clUnloadPlatformCompiler,
        kernel::clGetKernelArgInfo,
        copy::clEnqueueFillBuffer,
        copy::clEnqueueFillImage,
        map::clEnqueueMigrateMemObjects,
        sync::clEnqueueMarkerWithWaitList,
        sync::clEnqueueBarrierWithWaitList,
        lookup::clGetExtensionFunctionAddressForPlatform,
    }
    (2, 0) {
        queue::clCreateCommandQueueWithProperties,
        absent::clCreatePipe,
        absent::clGetPipeInfo,
        absent::clSVMAlloc,
        absent::clSVMFree,
        absent::clEnqueueSVMFree,
        absent::clEnqueueSVMMemcpy,
        absent::clEnqueueSVMMemFill,
        absent::clEnqueueSVMMap,
        absent::clEnqueueSVMUnmap,
        sampler::clCreateSamplerWithProperties,
        kernel::clSetKernelArgSVMPointer,
        kernel::clSetKernelExecInfo,
    }
    (2, 1) {
        kernel::clCloneKernel,
        program::clCreateProgramWithIL,
        absent::clEnqueueSVMMigrateMem,
        device::clGetDeviceAndHostTimer,
        device::clGetHostTimer,
        kernel::clGetKernelSubGroupInfo,
        queue::clSetDefaultDeviceCommandQueue,
    }
    (2, 2) {
        program::clSetProgramReleaseCallback,
        program::clSetProgramSpecializationConstant,
    }
    (3, 0) {
        mem::clCreateBufferWithProperties,
        image::clCreateImageWithProperties,
        context::clSetContextDestructorCallback,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_has_fewer_entries() {
        let (old, new) = (build((1, 2)), build((3, 0)));
        assert!(
            old.clCreateImage.is_some() && old.clCloneKernel.is_none() && old.clSVMAlloc.is_none()
        );
        assert!(new.clCloneKernel.is_some() && new.clSetContextDestructorCallback.is_some());
        assert!(new.clCreateFromGLBuffer.is_none());
    }
}
