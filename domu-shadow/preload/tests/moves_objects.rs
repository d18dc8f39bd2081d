//! Sub-devices and native kernels, used as a program does and moved there and back.

mod common;

use common::moving::*;
use common::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

fn of_device<T: Copy + Default>(device: Handle, parameter: u32) -> T {
    let mut value = T::default();
    let to = (&raw mut value).cast();
    ok!(clGetDeviceInfo(
        device,
        parameter,
        size_of::<T>(),
        to,
        null_mut()
    ));
    value
}

#[test]
fn sub_devices_move() {
    let _alone = alone();
    let gpu = Gpu::new();
    let units: u32 = of_device(gpu.device, CL_DEVICE_MAX_COMPUTE_UNITS);
    assert!(units >= 2, "this test needs a device of two compute units");
    let list = [
        CL_DEVICE_PARTITION_BY_COUNTS,
        1,
        1,
        CL_DEVICE_PARTITION_BY_COUNTS_LIST_END,
        0,
    ];
    let mut count = 0;
    ok!(clCreateSubDevices(
        gpu.device,
        list.as_ptr(),
        0,
        null_mut(),
        &raw mut count
    ));
    assert_eq!(count, 2);
    let mut parts = [null_mut(); 2];
    ok!(clCreateSubDevices(
        gpu.device,
        list.as_ptr(),
        2,
        parts.as_mut_ptr(),
        null_mut()
    ));
    let [released, part] = parts;
    ok!(clReleaseDevice(released));
    assert_eq!(call!(clReleaseDevice(released)), CL_INVALID_DEVICE);
    let context = make!(clCreateContext(
        null(),
        1,
        &raw const part,
        None,
        null_mut()
    ));
    let queue = make!(clCreateCommandQueue(context, part, 0));
    let on_part = Gpu {
        platform: gpu.platform,
        device: part,
        context,
        queue,
    };
    let kernel = on_part.kernel(COUNT, "count");
    let buffer = on_part.buffer(CL_MEM_READ_WRITE, 4096);
    on_part.write(buffer, 0, &[0_u32; 1024]);
    set(kernel, 0, &buffer);
    for moves in 0..3 {
        on_part.run(kernel, 1024);
        there_and_back(moves % 2);
        assert_eq!(on_part.read::<u32>(buffer, 0, 1024), [moves + 1; 1024]);
        assert_eq!(of_device::<u32>(part, CL_DEVICE_MAX_COMPUTE_UNITS), 1);
        assert_eq!(
            of_device::<usize>(part, CL_DEVICE_PARENT_DEVICE),
            gpu.device as usize
        );
    }
    ok!(clRetainDevice(part));
    assert_eq!(of_device::<u32>(part, CL_DEVICE_REFERENCE_COUNT), 2);
    ok!(clReleaseDevice(part));
    // It lives on for its context.
    ok!(clReleaseDevice(part));
    on_part.run(kernel, 1024);
    assert_eq!(on_part.read::<u32>(buffer, 0, 1), [4]);
    ok!(clReleaseMemObject(buffer));
    ok!(clReleaseKernel(kernel));
    let wrong: [isize; 3] = [1, 2, 0];
    let refused = call!(clCreateSubDevices(
        gpu.device,
        wrong.as_ptr(),
        0,
        null_mut(),
        &raw mut count
    ));
    assert_eq!(refused, CL_INVALID_VALUE);
}

#[repr(C)]
struct Args {
    buffer: *mut u32,
    value: u32,
}

unsafe extern "C" fn fill(args: *mut c_void) {
    // SAFETY: the driver passes its copy of `Args`, with the pointer to the buffer of 16 numbers put in.
    let (buffer, value) = unsafe { ((*args.cast::<Args>()).buffer, (*args.cast::<Args>()).value) };
    for at in 0..16 {
        // SAFETY: as above.
        unsafe { buffer.add(at).write(value) };
    }
}

#[test]
fn native_kernels_get_the_drivers_memory() {
    let _alone = alone();
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    gpu.write(buffer, 0, &[0_u32; 16]);
    for value in 1..3 {
        let mut args = Args {
            buffer: null_mut(),
            value,
        };
        let mut place = (&raw const args.buffer).cast::<c_void>();
        ok!(clEnqueueNativeKernel(
            gpu.queue,
            Some(fill),
            (&raw mut args).cast(),
            size_of::<Args>(),
            1,
            &raw const buffer,
            &raw mut place,
            0,
            null(),
            null_mut()
        ));
        there_and_back(1);
        assert_eq!(gpu.read::<u32>(buffer, 0, 16), [value; 16]);
    }
    ok!(clReleaseMemObject(buffer));
}
