//! The 134 symbols that Debian's ocl-icd and the Khronos loader export together, with their version nodes.
//!
//! Each is a jump to the Rust function, given its versioned name by `.symver`; `exports.map` declares the nodes.
//! The same functions make a dispatch table, so that every handle is an ICD's object to anyone who looks.

use std::arch::global_asm;
use std::ffi::c_void;

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::api::{
    build, context, device, enqueue, event, extension, image, image_transfer, kernel, kernel_info,
    map, memory, pipe, platform, program, queue, sampler, sharing, svm, transfer,
};

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

/// Our own table; functions that only exist on Windows are absent.
static TABLE: cl_icd_dispatch = cl_icd_dispatch {
    clGetPlatformIDs: Some(platform::clGetPlatformIDs),
    clGetPlatformInfo: Some(platform::clGetPlatformInfo),
    clGetDeviceIDs: Some(device::clGetDeviceIDs),
    clGetDeviceInfo: Some(device::clGetDeviceInfo),
    clCreateContext: Some(context::clCreateContext),
    clCreateContextFromType: Some(context::clCreateContextFromType),
    clRetainContext: Some(context::clRetainContext),
    clReleaseContext: Some(context::clReleaseContext),
    clGetContextInfo: Some(context::clGetContextInfo),
    clCreateCommandQueue: Some(queue::clCreateCommandQueue),
    clRetainCommandQueue: Some(queue::clRetainCommandQueue),
    clReleaseCommandQueue: Some(queue::clReleaseCommandQueue),
    clGetCommandQueueInfo: Some(queue::clGetCommandQueueInfo),
    clSetCommandQueueProperty: Some(queue::clSetCommandQueueProperty),
    clCreateBuffer: Some(memory::clCreateBuffer),
    clCreateImage2D: Some(image::clCreateImage2D),
    clCreateImage3D: Some(image::clCreateImage3D),
    clRetainMemObject: Some(memory::clRetainMemObject),
    clReleaseMemObject: Some(memory::clReleaseMemObject),
    clGetSupportedImageFormats: Some(image::clGetSupportedImageFormats),
    clGetMemObjectInfo: Some(memory::clGetMemObjectInfo),
    clGetImageInfo: Some(image::clGetImageInfo),
    clCreateSampler: Some(sampler::clCreateSampler),
    clRetainSampler: Some(sampler::clRetainSampler),
    clReleaseSampler: Some(sampler::clReleaseSampler),
    clGetSamplerInfo: Some(sampler::clGetSamplerInfo),
    clCreateProgramWithSource: Some(program::clCreateProgramWithSource),
    clCreateProgramWithBinary: Some(program::clCreateProgramWithBinary),
    clRetainProgram: Some(program::clRetainProgram),
    clReleaseProgram: Some(program::clReleaseProgram),
    clBuildProgram: Some(build::clBuildProgram),
    clUnloadCompiler: Some(build::clUnloadCompiler),
    clGetProgramInfo: Some(program::clGetProgramInfo),
    clGetProgramBuildInfo: Some(program::clGetProgramBuildInfo),
    clCreateKernel: Some(kernel::clCreateKernel),
    clCreateKernelsInProgram: Some(kernel::clCreateKernelsInProgram),
    clRetainKernel: Some(kernel::clRetainKernel),
    clReleaseKernel: Some(kernel::clReleaseKernel),
    clSetKernelArg: Some(kernel::clSetKernelArg),
    clGetKernelInfo: Some(kernel_info::clGetKernelInfo),
    clGetKernelWorkGroupInfo: Some(kernel_info::clGetKernelWorkGroupInfo),
    clWaitForEvents: Some(event::clWaitForEvents),
    clGetEventInfo: Some(event::clGetEventInfo),
    clRetainEvent: Some(event::clRetainEvent),
    clReleaseEvent: Some(event::clReleaseEvent),
    clGetEventProfilingInfo: Some(event::clGetEventProfilingInfo),
    clFlush: Some(queue::clFlush),
    clFinish: Some(queue::clFinish),
    clEnqueueReadBuffer: Some(transfer::clEnqueueReadBuffer),
    clEnqueueWriteBuffer: Some(transfer::clEnqueueWriteBuffer),
    clEnqueueCopyBuffer: Some(transfer::clEnqueueCopyBuffer),
    clEnqueueReadImage: Some(image_transfer::clEnqueueReadImage),
    clEnqueueWriteImage: Some(image_transfer::clEnqueueWriteImage),
    clEnqueueCopyImage: Some(image_transfer::clEnqueueCopyImage),
    clEnqueueCopyImageToBuffer: Some(image_transfer::clEnqueueCopyImageToBuffer),
    clEnqueueCopyBufferToImage: Some(image_transfer::clEnqueueCopyBufferToImage),
    clEnqueueMapBuffer: Some(map::clEnqueueMapBuffer),
    clEnqueueMapImage: Some(map::clEnqueueMapImage),
    clEnqueueUnmapMemObject: Some(map::clEnqueueUnmapMemObject),
    clEnqueueNDRangeKernel: Some(enqueue::clEnqueueNDRangeKernel),
    clEnqueueTask: Some(enqueue::clEnqueueTask),
    clEnqueueNativeKernel: Some(enqueue::clEnqueueNativeKernel),
    clEnqueueMarker: Some(enqueue::clEnqueueMarker),
    clEnqueueWaitForEvents: Some(enqueue::clEnqueueWaitForEvents),
    clEnqueueBarrier: Some(enqueue::clEnqueueBarrier),
    clGetExtensionFunctionAddress: Some(extension::clGetExtensionFunctionAddress),
    clCreateFromGLBuffer: Some(sharing::clCreateFromGLBuffer),
    clCreateFromGLTexture2D: Some(sharing::clCreateFromGLTexture2D),
    clCreateFromGLTexture3D: Some(sharing::clCreateFromGLTexture3D),
    clCreateFromGLRenderbuffer: Some(sharing::clCreateFromGLRenderbuffer),
    clGetGLObjectInfo: Some(sharing::clGetGLObjectInfo),
    clGetGLTextureInfo: Some(sharing::clGetGLTextureInfo),
    clEnqueueAcquireGLObjects: Some(sharing::clEnqueueAcquireGLObjects),
    clEnqueueReleaseGLObjects: Some(sharing::clEnqueueReleaseGLObjects),
    clGetGLContextInfoKHR: Some(sharing::clGetGLContextInfoKHR),
    clGetDeviceIDsFromD3D10KHR: None,
    clCreateFromD3D10BufferKHR: None,
    clCreateFromD3D10Texture2DKHR: None,
    clCreateFromD3D10Texture3DKHR: None,
    clEnqueueAcquireD3D10ObjectsKHR: None,
    clEnqueueReleaseD3D10ObjectsKHR: None,
    clSetEventCallback: Some(event::clSetEventCallback),
    clCreateSubBuffer: Some(memory::clCreateSubBuffer),
    clSetMemObjectDestructorCallback: Some(memory::clSetMemObjectDestructorCallback),
    clCreateUserEvent: Some(event::clCreateUserEvent),
    clSetUserEventStatus: Some(event::clSetUserEventStatus),
    clEnqueueReadBufferRect: Some(transfer::clEnqueueReadBufferRect),
    clEnqueueWriteBufferRect: Some(transfer::clEnqueueWriteBufferRect),
    clEnqueueCopyBufferRect: Some(transfer::clEnqueueCopyBufferRect),
    clCreateSubDevicesEXT: Some(device::clCreateSubDevicesEXT),
    clRetainDeviceEXT: Some(device::clRetainDeviceEXT),
    clReleaseDeviceEXT: Some(device::clReleaseDeviceEXT),
    clCreateEventFromGLsyncKHR: Some(sharing::clCreateEventFromGLsyncKHR),
    clCreateSubDevices: Some(device::clCreateSubDevices),
    clRetainDevice: Some(device::clRetainDevice),
    clReleaseDevice: Some(device::clReleaseDevice),
    clCreateImage: Some(image::clCreateImage),
    clCreateProgramWithBuiltInKernels: Some(program::clCreateProgramWithBuiltInKernels),
    clCompileProgram: Some(build::clCompileProgram),
    clLinkProgram: Some(build::clLinkProgram),
    clUnloadPlatformCompiler: Some(build::clUnloadPlatformCompiler),
    clGetKernelArgInfo: Some(kernel_info::clGetKernelArgInfo),
    clEnqueueFillBuffer: Some(transfer::clEnqueueFillBuffer),
    clEnqueueFillImage: Some(image_transfer::clEnqueueFillImage),
    clEnqueueMigrateMemObjects: Some(transfer::clEnqueueMigrateMemObjects),
    clEnqueueMarkerWithWaitList: Some(enqueue::clEnqueueMarkerWithWaitList),
    clEnqueueBarrierWithWaitList: Some(enqueue::clEnqueueBarrierWithWaitList),
    clGetExtensionFunctionAddressForPlatform: Some(
        extension::clGetExtensionFunctionAddressForPlatform,
    ),
    clCreateFromGLTexture: Some(sharing::clCreateFromGLTexture),
    clGetDeviceIDsFromD3D11KHR: None,
    clCreateFromD3D11BufferKHR: None,
    clCreateFromD3D11Texture2DKHR: None,
    clCreateFromD3D11Texture3DKHR: None,
    clCreateFromDX9MediaSurfaceKHR: None,
    clEnqueueAcquireD3D11ObjectsKHR: None,
    clEnqueueReleaseD3D11ObjectsKHR: None,
    clGetDeviceIDsFromDX9MediaAdapterKHR: None,
    clEnqueueAcquireDX9MediaSurfacesKHR: None,
    clEnqueueReleaseDX9MediaSurfacesKHR: None,
    clCreateFromEGLImageKHR: Some(sharing::clCreateFromEGLImageKHR),
    clEnqueueAcquireEGLObjectsKHR: Some(sharing::clEnqueueAcquireEGLObjectsKHR),
    clEnqueueReleaseEGLObjectsKHR: Some(sharing::clEnqueueReleaseEGLObjectsKHR),
    clCreateEventFromEGLSyncKHR: Some(sharing::clCreateEventFromEGLSyncKHR),
    clCreateCommandQueueWithProperties: Some(queue::clCreateCommandQueueWithProperties),
    clCreatePipe: Some(pipe::clCreatePipe),
    clGetPipeInfo: Some(pipe::clGetPipeInfo),
    clSVMAlloc: Some(svm::clSVMAlloc),
    clSVMFree: Some(svm::clSVMFree),
    clEnqueueSVMFree: Some(svm::clEnqueueSVMFree),
    clEnqueueSVMMemcpy: Some(svm::clEnqueueSVMMemcpy),
    clEnqueueSVMMemFill: Some(svm::clEnqueueSVMMemFill),
    clEnqueueSVMMap: Some(svm::clEnqueueSVMMap),
    clEnqueueSVMUnmap: Some(svm::clEnqueueSVMUnmap),
    clCreateSamplerWithProperties: Some(sampler::clCreateSamplerWithProperties),
    clSetKernelArgSVMPointer: Some(svm::clSetKernelArgSVMPointer),
    clSetKernelExecInfo: Some(svm::clSetKernelExecInfo),
    clGetKernelSubGroupInfoKHR: Some(kernel_info::clGetKernelSubGroupInfoKHR),
    clCloneKernel: Some(kernel::clCloneKernel),
    clCreateProgramWithIL: Some(program::clCreateProgramWithIL),
    clEnqueueSVMMigrateMem: Some(svm::clEnqueueSVMMigrateMem),
    clGetDeviceAndHostTimer: Some(device::clGetDeviceAndHostTimer),
    clGetHostTimer: Some(device::clGetHostTimer),
    clGetKernelSubGroupInfo: Some(kernel_info::clGetKernelSubGroupInfo),
    clSetDefaultDeviceCommandQueue: Some(queue::clSetDefaultDeviceCommandQueue),
    clSetProgramReleaseCallback: Some(program::clSetProgramReleaseCallback),
    clSetProgramSpecializationConstant: Some(program::clSetProgramSpecializationConstant),
    clCreateBufferWithProperties: Some(memory::clCreateBufferWithProperties),
    clCreateImageWithProperties: Some(image::clCreateImageWithProperties),
    clSetContextDestructorCallback: Some(context::clSetContextDestructorCallback),
    clGetKernelSuggestedLocalWorkSize: 0,
};

/// The first word of every handle's cell.
pub fn table() -> *mut c_void {
    std::ptr::from_ref(&TABLE).cast_mut().cast()
}

/// The table itself: how tests call the C functions with their C types checked.
pub fn dispatch() -> &'static cl_icd_dispatch {
    &TABLE
}
