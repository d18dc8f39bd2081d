//! Images that the specification does not allow.

use std::ptr::{null, null_mut};

use crate::common::moving::*;
use crate::common::*;
use crate::{RGBA8, desc, info};

#[test]
fn wrong_images_are_refused() {
    let _alone = alone();
    let gpu = Gpu::new();
    let mut code = 0;
    let plane = desc(CL_MEM_OBJECT_IMAGE2D, [8, 8, 0], 0);
    let flags = CL_MEM_READ_WRITE;
    call!(clCreateImage(
        null_mut(),
        flags,
        &RGBA8,
        &plane,
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_CONTEXT);
    call!(clCreateImage(
        gpu.context,
        flags,
        null(),
        &plane,
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    call!(clCreateImage(
        gpu.context,
        flags,
        &RGBA8,
        null(),
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_IMAGE_DESCRIPTOR);
    let uses = flags | CL_MEM_USE_HOST_PTR;
    call!(clCreateImage(
        gpu.context,
        uses,
        &RGBA8,
        &plane,
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_HOST_PTR);
    let one = make!(clCreateImage2D(
        gpu.context,
        flags,
        &RGBA8,
        8,
        8,
        0,
        null_mut()
    ));
    let two = make!(clCreateImage3D(
        gpu.context,
        flags,
        &RGBA8,
        8,
        8,
        4,
        0,
        0,
        null_mut()
    ));
    call!(clEnqueueMapBuffer(
        gpu.queue,
        one,
        CL_TRUE,
        CL_MAP_READ,
        0,
        4,
        0,
        null(),
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_MEM_OBJECT);
    let (origin, region) = ([0_usize; 3], [9_usize, 8, 1]);
    let mut row = 0;
    call!(clEnqueueMapImage(
        gpu.queue,
        one,
        CL_TRUE,
        CL_MAP_READ,
        origin.as_ptr(),
        region.as_ptr(),
        &raw mut row,
        null_mut(),
        0,
        null(),
        null_mut(),
        &raw mut code
    ));
    assert_eq!(code, CL_INVALID_VALUE);
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 64);
    let asked = call!(clGetImageInfo(
        buffer,
        CL_IMAGE_WIDTH,
        8,
        (&raw mut row).cast(),
        null_mut()
    ));
    assert_eq!(asked, CL_INVALID_MEM_OBJECT);
    there_and_back(0);
    assert_eq!(info::<usize>(two, CL_IMAGE_DEPTH), 4);
    for one in [one, two, buffer] {
        ok!(clReleaseMemObject(one));
    }
}
