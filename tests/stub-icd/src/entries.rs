//! The entry points of the dispatch table, by name.

/// Gives a macro the entry points: by the OpenCL version that brought them, and with the module of `api` they are in.
macro_rules! entries {
    ($receiver:ident) => {
        $receiver! {
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
    };
}
pub(crate) use entries;

macro_rules! names {
    ($(($major:literal, $minor:literal) { $($module:ident::$name:ident,)* })*) => {
        const NAMES: &[&str] = &[$($(stringify!($name),)*)*];
    };
}
entries!(names);

/// Whether there is an entry point of this name.
pub fn is_entry_point(name: &str) -> bool {
    NAMES.contains(&name)
}
