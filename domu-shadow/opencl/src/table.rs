//! All functions as a dispatch table, so that every handle is an ICD's object to anyone who looks.

use std::ffi::c_void;

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::api::{
    build, context, device, enqueue, event, extension, image, image_transfer, kernel, kernel_info,
    map, memory, pipe, platform, program, queue, sampler, sharing, svm, transfer,
};

macro_rules! table {
    (absent: $($absent:ident)*; $($module:ident: $($function:ident)*;)*) => {
        static TABLE: cl_icd_dispatch = cl_icd_dispatch {
            $($($function: Some($module::$function),)*)*
            $($absent: None,)*
            clGetKernelSuggestedLocalWorkSize: 0,
        };
    };
}

// Absent are functions that only exist on Windows.
table! {
    absent:
        clGetDeviceIDsFromD3D10KHR clCreateFromD3D10BufferKHR clCreateFromD3D10Texture2DKHR
        clCreateFromD3D10Texture3DKHR clEnqueueAcquireD3D10ObjectsKHR clEnqueueReleaseD3D10ObjectsKHR
        clGetDeviceIDsFromD3D11KHR clCreateFromD3D11BufferKHR clCreateFromD3D11Texture2DKHR
        clCreateFromD3D11Texture3DKHR clCreateFromDX9MediaSurfaceKHR clEnqueueAcquireD3D11ObjectsKHR
        clEnqueueReleaseD3D11ObjectsKHR clGetDeviceIDsFromDX9MediaAdapterKHR
        clEnqueueAcquireDX9MediaSurfacesKHR clEnqueueReleaseDX9MediaSurfacesKHR;
    platform: clGetPlatformIDs clGetPlatformInfo;
    device:
        clGetDeviceIDs clGetDeviceInfo clCreateSubDevicesEXT clRetainDeviceEXT clReleaseDeviceEXT
        clCreateSubDevices clRetainDevice clReleaseDevice clGetDeviceAndHostTimer clGetHostTimer;
    context:
        clCreateContext clCreateContextFromType clRetainContext clReleaseContext clGetContextInfo
        clSetContextDestructorCallback;
    queue:
        clCreateCommandQueue clRetainCommandQueue clReleaseCommandQueue clGetCommandQueueInfo
        clSetCommandQueueProperty clFlush clFinish clCreateCommandQueueWithProperties
        clSetDefaultDeviceCommandQueue;
    memory:
        clCreateBuffer clRetainMemObject clReleaseMemObject clGetMemObjectInfo clCreateSubBuffer
        clSetMemObjectDestructorCallback clCreateBufferWithProperties;
    image:
        clCreateImage2D clCreateImage3D clGetSupportedImageFormats clGetImageInfo clCreateImage
        clCreateImageWithProperties;
    sampler: clCreateSampler clRetainSampler clReleaseSampler clGetSamplerInfo clCreateSamplerWithProperties;
    program:
        clCreateProgramWithSource clCreateProgramWithBinary clRetainProgram clReleaseProgram
        clGetProgramInfo clGetProgramBuildInfo clCreateProgramWithBuiltInKernels clCreateProgramWithIL
        clSetProgramReleaseCallback clSetProgramSpecializationConstant;
    build: clBuildProgram clUnloadCompiler clCompileProgram clLinkProgram clUnloadPlatformCompiler;
    kernel:
        clCreateKernel clCreateKernelsInProgram clRetainKernel clReleaseKernel clSetKernelArg clCloneKernel;
    kernel_info:
        clGetKernelInfo clGetKernelWorkGroupInfo clGetKernelArgInfo clGetKernelSubGroupInfoKHR
        clGetKernelSubGroupInfo;
    event:
        clWaitForEvents clGetEventInfo clRetainEvent clReleaseEvent clGetEventProfilingInfo
        clSetEventCallback clCreateUserEvent clSetUserEventStatus;
    transfer:
        clEnqueueReadBuffer clEnqueueWriteBuffer clEnqueueCopyBuffer clEnqueueReadBufferRect
        clEnqueueWriteBufferRect clEnqueueCopyBufferRect clEnqueueFillBuffer clEnqueueMigrateMemObjects;
    image_transfer:
        clEnqueueReadImage clEnqueueWriteImage clEnqueueCopyImage clEnqueueCopyImageToBuffer
        clEnqueueCopyBufferToImage clEnqueueFillImage;
    map: clEnqueueMapBuffer clEnqueueMapImage clEnqueueUnmapMemObject;
    enqueue:
        clEnqueueNDRangeKernel clEnqueueTask clEnqueueNativeKernel clEnqueueMarker clEnqueueWaitForEvents
        clEnqueueBarrier clEnqueueMarkerWithWaitList clEnqueueBarrierWithWaitList;
    extension: clGetExtensionFunctionAddress clGetExtensionFunctionAddressForPlatform;
    sharing:
        clCreateFromGLBuffer clCreateFromGLTexture2D clCreateFromGLTexture3D clCreateFromGLRenderbuffer
        clGetGLObjectInfo clGetGLTextureInfo clEnqueueAcquireGLObjects clEnqueueReleaseGLObjects
        clGetGLContextInfoKHR clCreateEventFromGLsyncKHR clCreateFromGLTexture clCreateFromEGLImageKHR
        clEnqueueAcquireEGLObjectsKHR clEnqueueReleaseEGLObjectsKHR clCreateEventFromEGLSyncKHR;
    pipe: clCreatePipe clGetPipeInfo;
    svm:
        clSVMAlloc clSVMFree clEnqueueSVMFree clEnqueueSVMMemcpy clEnqueueSVMMemFill clEnqueueSVMMap
        clEnqueueSVMUnmap clSetKernelArgSVMPointer clSetKernelExecInfo clEnqueueSVMMigrateMem;
}

/// The first word of every handle's cell.
pub fn table() -> *mut c_void {
    std::ptr::from_ref(&TABLE).cast_mut().cast()
}

/// The table itself: how tests call the C functions with their C types checked.
pub fn dispatch() -> &'static cl_icd_dispatch {
    &TABLE
}
