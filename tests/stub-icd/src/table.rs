//! The dispatch table that every handle starts with.

use std::sync::OnceLock;

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::{api, driver};

/// Every entry absent: sharing with graphics APIs stays so.
// SAFETY: the table holds only `Option<fn>` (zero is `None`) and integers.
const EMPTY: cl_icd_dispatch = unsafe { std::mem::zeroed() };

static TABLE: OnceLock<cl_icd_dispatch> = OnceLock::new();

/// The table; later entries than the pretended OpenCL version has are absent.
pub fn table() -> &'static cl_icd_dispatch {
    TABLE.get_or_init(|| build(driver::options().spec))
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
