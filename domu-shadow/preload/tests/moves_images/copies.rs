//! Copies and fills between images and buffers.

use std::ptr::{null, null_mut};

use crate::common::moving::*;
use crate::common::*;
use crate::{RGBA8, desc, image, read_image};

#[test]
fn copies_and_fills_between_images_and_buffers() {
    let _alone = alone();
    let gpu = Gpu::new();
    let plane = desc(CL_MEM_OBJECT_IMAGE2D, [20, 10, 0], 0);
    let [a, b] = [(); 2].map(|()| image(&gpu, CL_MEM_READ_WRITE, &RGBA8, &plane, null_mut()));
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 1024);
    let (zero, region) = ([0_usize; 3], [20_usize, 10, 1]);
    let color = [1_u32, 2, 3, 4];
    ok!(clEnqueueFillImage(
        gpu.queue,
        a,
        color.as_ptr().cast(),
        zero.as_ptr(),
        region.as_ptr(),
        0,
        null(),
        null_mut()
    ));
    ok!(clEnqueueCopyImage(
        gpu.queue,
        a,
        b,
        zero.as_ptr(),
        zero.as_ptr(),
        region.as_ptr(),
        0,
        null(),
        null_mut()
    ));
    let (origin, part) = ([3_usize, 4, 0], [2_usize, 2, 1]);
    ok!(clEnqueueCopyImageToBuffer(
        gpu.queue,
        b,
        buffer,
        origin.as_ptr(),
        part.as_ptr(),
        16,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(gpu.read::<u8>(buffer, 16, 16), [1, 2, 3, 4].repeat(4));
    gpu.write(buffer, 0, &[9_u8; 16]);
    ok!(clEnqueueCopyBufferToImage(
        gpu.queue,
        buffer,
        b,
        0,
        origin.as_ptr(),
        part.as_ptr(),
        0,
        null(),
        null_mut()
    ));
    there_and_back(1);
    let bytes = read_image(&gpu, b, region, 4);
    let at = |x: usize, y: usize| bytes[(y * 20 + x) * 4];
    assert_eq!((at(3, 4), at(4, 5), at(5, 5), at(2, 4)), (9, 9, 1, 1));
    for one in [a, b, buffer] {
        ok!(clReleaseMemObject(one));
    }
}
