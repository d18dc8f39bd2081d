//! Handles and queries: errors, lifetimes, the size protocol.

use crate::common::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

#[test]
fn bad_handles_give_the_specifications_errors() {
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    let kernel = gpu.kernel(COUNT, "count");
    let garbage = [
        null_mut(),
        8 as Handle,
        0x1234_5678_9abc_def0_u64 as Handle,
        (buffer as usize + 8) as Handle,
    ];
    for wrong in garbage.into_iter().chain([kernel, gpu.context]) {
        assert_eq!(call!(clRetainMemObject(wrong)), CL_INVALID_MEM_OBJECT);
        assert_eq!(call!(clReleaseEvent(wrong)), CL_INVALID_EVENT);
        assert_eq!(call!(clFinish(wrong)), CL_INVALID_COMMAND_QUEUE);
        assert_eq!(call!(clReleaseProgram(wrong)), CL_INVALID_PROGRAM);
        assert_eq!(
            call!(clGetDeviceInfo(
                wrong,
                CL_DEVICE_NAME,
                0,
                null_mut(),
                null_mut()
            )),
            CL_INVALID_DEVICE
        );
    }
    for wrong in garbage {
        assert_eq!(
            call!(clSetKernelArg(wrong, 0, 8, null())),
            CL_INVALID_KERNEL
        );
        assert_eq!(call!(clReleaseContext(wrong)), CL_INVALID_CONTEXT);
    }
    assert_eq!(
        call!(clSetKernelArg(kernel, 5, 8, (&raw const buffer).cast())),
        CL_INVALID_ARG_INDEX
    );
    assert_eq!(
        call!(clSetKernelArg(kernel, 0, 8, (&raw const kernel).cast())),
        CL_INVALID_MEM_OBJECT
    );
    ok!(clReleaseMemObject(buffer));
    assert_eq!(call!(clReleaseMemObject(buffer)), CL_INVALID_MEM_OBJECT);
    assert_eq!(
        call!(clSetKernelArg(kernel, 0, 8, (&raw const buffer).cast())),
        CL_INVALID_MEM_OBJECT
    );
    let mut code = 0;
    call!(clCreateBuffer(
        gpu.context,
        CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR,
        64,
        8 as Handle,
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_VALUE);
    call!(clCreateBuffer(
        gpu.context,
        CL_MEM_COPY_HOST_PTR,
        64,
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_HOST_PTR);
    call!(clCreateBuffer(gpu.context, 0, 0, null_mut(), &raw mut code));
    assert_eq!(code, CL_INVALID_BUFFER_SIZE);
}

#[test]
fn parents_live_while_their_children_do() {
    let gpu = Gpu::new();
    let context = make!(clCreateContext(
        null(),
        1,
        &raw const gpu.device,
        None,
        null_mut()
    ));
    let buffer = make!(clCreateBuffer(context, CL_MEM_READ_WRITE, 64, null_mut()));
    ok!(clReleaseContext(context));
    assert_eq!(call!(clReleaseContext(context)), CL_INVALID_CONTEXT);
    let mut of = null_mut::<c_void>();
    ok!(clGetMemObjectInfo(
        buffer,
        CL_MEM_CONTEXT,
        8,
        (&raw mut of).cast(),
        null_mut()
    ));
    assert_eq!(of, context);
    let mut device = null_mut::<c_void>();
    ok!(clGetContextInfo(
        context,
        CL_CONTEXT_DEVICES,
        8,
        (&raw mut device).cast(),
        null_mut()
    ));
    assert_eq!(device, gpu.device);
    // Got back from a query, it can be retained again.
    ok!(clRetainContext(context));
    ok!(clReleaseMemObject(buffer));
    ok!(clReleaseContext(context));
    assert_eq!(call!(clRetainContext(context)), CL_INVALID_CONTEXT);
}

#[test]
fn info_queries_follow_the_size_protocol() {
    let gpu = Gpu::new();
    let mut size = 0;
    ok!(clGetPlatformInfo(
        gpu.platform,
        CL_PLATFORM_NAME,
        0,
        null_mut(),
        &raw mut size
    ));
    let mut short = vec![0_u8; size - 1];
    let into = short.as_mut_ptr().cast();
    assert_eq!(
        call!(clGetPlatformInfo(
            gpu.platform,
            CL_PLATFORM_NAME,
            size - 1,
            into,
            null_mut()
        )),
        CL_INVALID_VALUE
    );
    let mut platform = null_mut::<c_void>();
    ok!(clGetDeviceInfo(
        gpu.device,
        CL_DEVICE_PLATFORM,
        8,
        (&raw mut platform).cast(),
        &raw mut size
    ));
    assert_eq!((platform, size), (gpu.platform, 8));
    let mut count = 9_u32;
    ok!(clGetContextInfo(
        gpu.context,
        CL_CONTEXT_REFERENCE_COUNT,
        4,
        (&raw mut count).cast(),
        null_mut()
    ));
    assert_eq!(count, 1);
    let mut properties = [7_isize; 3];
    ok!(clGetContextInfo(
        gpu.context,
        CL_CONTEXT_PROPERTIES,
        24,
        properties.as_mut_ptr().cast(),
        null_mut()
    ));
    assert_eq!(properties, [CL_CONTEXT_PLATFORM, gpu.platform as isize, 0]);
    assert_eq!(
        call!(clGetContextInfo(
            gpu.context,
            0xffff,
            0,
            null_mut(),
            null_mut()
        )),
        CL_INVALID_VALUE
    );
}
