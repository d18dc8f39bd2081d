//! The 134 symbols that Debian's ocl-icd and the Khronos loader export together, with their version nodes.
//!
//! Each is a jump to the Rust function, given its versioned name by `.symver`; `exports.map` declares the nodes.

/// CUDA's functions have no versions: that crate exports them itself.
pub use cuda::driver::table::LIST as CUDA;
use opencl::api::{
    build, context, device, enqueue, event, extension, image, image_transfer, kernel, kernel_info,
    map, memory, pipe, platform, program, queue, sampler, sharing, svm, transfer,
};
use std::arch::global_asm;

macro_rules! export {
    ($($version:literal: $($module:ident::$name:ident)*;)*) => {
        $($(global_asm!(
            concat!(".pushsection .text.", stringify!($name), ",\"ax\",@progbits"),
            concat!(".globl xl_gpu_", stringify!($name)),
            concat!(".type xl_gpu_", stringify!($name), ", @function"),
            concat!("xl_gpu_", stringify!($name), ": jmp {function}"),
            concat!(".size xl_gpu_", stringify!($name), ", . - xl_gpu_", stringify!($name)),
            concat!(".symver xl_gpu_", stringify!($name), ", ", stringify!($name), "@@", $version, ", remove"),
            ".popsection",
            function = sym $module::$name,
        );)*)*

        /// Names and version nodes, as exported.
        pub const EXPORTS: &[(&str, &str)] = &[$($((stringify!($name), $version),)*)*];
    };
}

export! {
    "OPENCL_1.0":
        build::clBuildProgram
        memory::clCreateBuffer
        queue::clCreateCommandQueue
        context::clCreateContext
        context::clCreateContextFromType
        sharing::clCreateEventFromEGLSyncKHR
        sharing::clCreateFromEGLImageKHR
        sharing::clCreateFromGLBuffer
        sharing::clCreateFromGLRenderbuffer
        sharing::clCreateFromGLTexture2D
        sharing::clCreateFromGLTexture3D
        image::clCreateImage2D
        image::clCreateImage3D
        kernel::clCreateKernel
        kernel::clCreateKernelsInProgram
        program::clCreateProgramWithBinary
        program::clCreateProgramWithSource
        sampler::clCreateSampler
        sharing::clEnqueueAcquireEGLObjectsKHR
        sharing::clEnqueueAcquireGLObjects
        enqueue::clEnqueueBarrier
        transfer::clEnqueueCopyBuffer
        image_transfer::clEnqueueCopyBufferToImage
        image_transfer::clEnqueueCopyImage
        image_transfer::clEnqueueCopyImageToBuffer
        map::clEnqueueMapBuffer
        map::clEnqueueMapImage
        enqueue::clEnqueueMarker
        enqueue::clEnqueueNDRangeKernel
        enqueue::clEnqueueNativeKernel
        transfer::clEnqueueReadBuffer
        image_transfer::clEnqueueReadImage
        sharing::clEnqueueReleaseEGLObjectsKHR
        sharing::clEnqueueReleaseGLObjects
        enqueue::clEnqueueTask
        map::clEnqueueUnmapMemObject
        enqueue::clEnqueueWaitForEvents
        transfer::clEnqueueWriteBuffer
        image_transfer::clEnqueueWriteImage
        queue::clFinish
        queue::clFlush
        queue::clGetCommandQueueInfo
        context::clGetContextInfo
        device::clGetDeviceIDs
        device::clGetDeviceInfo
        event::clGetEventInfo
        event::clGetEventProfilingInfo
        extension::clGetExtensionFunctionAddress
        sharing::clGetGLContextInfoKHR
        sharing::clGetGLObjectInfo
        sharing::clGetGLTextureInfo
        image::clGetImageInfo
        kernel_info::clGetKernelInfo
        kernel_info::clGetKernelWorkGroupInfo
        memory::clGetMemObjectInfo
        platform::clGetPlatformIDs
        platform::clGetPlatformInfo
        program::clGetProgramBuildInfo
        program::clGetProgramInfo
        sampler::clGetSamplerInfo
        image::clGetSupportedImageFormats
        queue::clReleaseCommandQueue
        context::clReleaseContext
        event::clReleaseEvent
        kernel::clReleaseKernel
        memory::clReleaseMemObject
        program::clReleaseProgram
        sampler::clReleaseSampler
        queue::clRetainCommandQueue
        context::clRetainContext
        event::clRetainEvent
        kernel::clRetainKernel
        memory::clRetainMemObject
        program::clRetainProgram
        sampler::clRetainSampler
        queue::clSetCommandQueueProperty
        kernel::clSetKernelArg
        build::clUnloadCompiler
        event::clWaitForEvents;
    "OPENCL_1.1":
        sharing::clCreateEventFromGLsyncKHR
        memory::clCreateSubBuffer
        device::clCreateSubDevicesEXT
        event::clCreateUserEvent
        transfer::clEnqueueCopyBufferRect
        transfer::clEnqueueReadBufferRect
        transfer::clEnqueueWriteBufferRect
        device::clReleaseDeviceEXT
        device::clRetainDeviceEXT
        event::clSetEventCallback
        memory::clSetMemObjectDestructorCallback
        event::clSetUserEventStatus;
    "OPENCL_1.2":
        build::clCompileProgram
        sharing::clCreateFromGLTexture
        image::clCreateImage
        program::clCreateProgramWithBuiltInKernels
        device::clCreateSubDevices
        enqueue::clEnqueueBarrierWithWaitList
        transfer::clEnqueueFillBuffer
        image_transfer::clEnqueueFillImage
        enqueue::clEnqueueMarkerWithWaitList
        transfer::clEnqueueMigrateMemObjects
        extension::clGetExtensionFunctionAddressForPlatform
        kernel_info::clGetKernelArgInfo
        build::clLinkProgram
        device::clReleaseDevice
        device::clRetainDevice
        build::clUnloadPlatformCompiler;
    "OPENCL_2.0":
        queue::clCreateCommandQueueWithProperties
        pipe::clCreatePipe
        sampler::clCreateSamplerWithProperties
        svm::clEnqueueSVMFree
        svm::clEnqueueSVMMap
        svm::clEnqueueSVMMemFill
        svm::clEnqueueSVMMemcpy
        svm::clEnqueueSVMUnmap
        kernel_info::clGetKernelSubGroupInfoKHR
        pipe::clGetPipeInfo
        svm::clSVMAlloc
        svm::clSVMFree
        svm::clSetKernelArgSVMPointer
        svm::clSetKernelExecInfo;
    "OPENCL_2.1":
        kernel::clCloneKernel
        program::clCreateProgramWithIL
        svm::clEnqueueSVMMigrateMem
        device::clGetDeviceAndHostTimer
        device::clGetHostTimer
        kernel_info::clGetKernelSubGroupInfo
        queue::clSetDefaultDeviceCommandQueue;
    "OPENCL_2.2":
        program::clSetProgramReleaseCallback
        program::clSetProgramSpecializationConstant;
    "OPENCL_3.0":
        memory::clCreateBufferWithProperties
        image::clCreateImageWithProperties
        context::clSetContextDestructorCallback;
    "OPENCL_3.1":
        kernel_info::clGetKernelSuggestedLocalWorkSize;
}
