//! Images: written, copied, filled, mapped, read by kernels.

#[macro_use]
mod support;

use opencl_sys::*;
use support::Stub;

#[test]
fn images_are_written_copied_filled_and_mapped() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let format = cl_image_format {
        image_channel_order: CL_RGBA,
        image_channel_data_type: CL_UNSIGNED_INT8,
    };
    // SAFETY: all zero is a valid description: numbers and a null handle.
    let mut desc: cl_image_desc = unsafe { std::mem::zeroed() };
    (desc.image_type, desc.image_width, desc.image_height) = (CL_MEM_OBJECT_IMAGE2D, 4, 3);
    let (format, desc_at, null) = (
        &raw const format,
        &raw const desc,
        std::ptr::null_mut::<std::ffi::c_void>(),
    );
    let image = || {
        make!(
            context,
            clCreateImage(context, CL_MEM_READ_WRITE, format, desc_at, null)
        )
        .unwrap()
    };
    let (a, b) = (image(), image());
    let (zero, all, none) = ([0_usize; 3], [4_usize, 3, 1], std::ptr::null());
    let pixels: Vec<u32> = (0..12).collect();
    let from = pixels.as_ptr().cast();
    let (origin, region) = (zero.as_ptr(), all.as_ptr());
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueWriteImage(
                queue,
                a,
                CL_TRUE,
                origin,
                region,
                0,
                0,
                from,
                0,
                none,
                null.cast()
            )
        )
    );
    let color = [1_u32, 2, 3, 4];
    let color = color.as_ptr().cast();
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueFillImage(queue, b, color, origin, region, 0, none, null.cast())
        )
    );
    let (part, place) = ([2_usize, 1, 1], [1_usize, 1, 0]);
    let (place, part) = (place.as_ptr(), part.as_ptr());
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueCopyImage(queue, a, b, place, origin, part, 0, none, null.cast())
        )
    );
    let (mut row, mut slice) = (0, 0);
    let pitches = (&raw mut row, &raw mut slice);
    let flags = CL_MAP_READ;
    let mapped = make!(
        queue,
        clEnqueueMapImage(
            queue,
            b,
            CL_TRUE,
            flags,
            origin,
            region,
            pitches.0,
            pitches.1,
            0,
            none,
            null.cast()
        )
    )
    .unwrap();
    assert_eq!((row, slice), (16, 0));
    // SAFETY: mapped with 12 pixels of 4 bytes.
    let read = unsafe { std::slice::from_raw_parts(mapped.cast::<u32>(), 12) };
    assert_eq!(read[..4], [5, 6, 0x0403_0201, 0x0403_0201]);
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueUnmapMemObject(queue, b, mapped, 0, none, null.cast())
        )
    );
    let beyond = [4_usize, 4, 1];
    let code = cl!(
        queue,
        clEnqueueCopyImage(
            queue,
            a,
            b,
            origin,
            origin,
            beyond.as_ptr(),
            0,
            none,
            null.cast()
        )
    );
    assert_eq!(code, CL_INVALID_VALUE);
    let kernel = stub.kernel(
        context,
        "kernel void sample(read_only image2d_t i, sampler_t s, global uint *out) {}",
        "sample",
    );
    let sampler = make!(
        context,
        clCreateSampler(context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST)
    )
    .unwrap();
    let out = stub.buffer(context, 48);
    assert_eq!(
        (
            stub.set(kernel, 0, &a),
            stub.set(kernel, 1, &sampler),
            stub.set(kernel, 2, &out)
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (stub.launch(queue, kernel, 12), stub.read(queue, out, 12)),
        (0, pixels)
    );
    assert_eq!(
        stub.set(kernel, 0, &out),
        CL_INVALID_MEM_OBJECT,
        "a buffer is no image"
    );
}
