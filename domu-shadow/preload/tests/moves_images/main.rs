//! Images and samplers, used as a program does and moved there and back.

#[path = "../common/mod.rs"]
mod common;
mod copies;
mod refused;
mod samplers;

use common::moving::*;
use common::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

const RGBA8: cl_image_format = cl_image_format {
    image_channel_order: CL_RGBA,
    image_channel_data_type: CL_UNSIGNED_INT8,
};
const RGBA32F: cl_image_format = cl_image_format {
    image_channel_order: CL_RGBA,
    image_channel_data_type: CL_FLOAT,
};

fn desc(image_type: u32, size: [usize; 3], layers: usize) -> cl_image_desc {
    cl_image_desc {
        image_type,
        image_width: size[0],
        image_height: size[1],
        image_depth: size[2],
        image_array_size: layers,
        image_row_pitch: 0,
        image_slice_pitch: 0,
        num_mip_levels: 0,
        num_samples: 0,
        buffer: null_mut(),
    }
}

fn image(
    gpu: &Gpu,
    flags: u64,
    format: &cl_image_format,
    desc: &cl_image_desc,
    host: *mut c_void,
) -> Handle {
    make!(clCreateImage(gpu.context, flags, format, desc, host))
}

fn write_image(gpu: &Gpu, image: Handle, region: [usize; 3], bytes: &[u8]) {
    let origin = [0_usize; 3];
    ok!(clEnqueueWriteImage(
        gpu.queue,
        image,
        CL_TRUE,
        origin.as_ptr(),
        region.as_ptr(),
        0,
        0,
        bytes.as_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
}

fn read_image(gpu: &Gpu, image: Handle, region: [usize; 3], pixel: usize) -> Vec<u8> {
    let origin = [0_usize; 3];
    let mut bytes = vec![0; region.iter().product::<usize>() * pixel];
    ok!(clEnqueueReadImage(
        gpu.queue,
        image,
        CL_TRUE,
        origin.as_ptr(),
        region.as_ptr(),
        0,
        0,
        bytes.as_mut_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
    bytes
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 + at / 251 + seed) as u8)
        .collect()
}

fn info<T: Copy + Default>(image: Handle, parameter: u32) -> T {
    let mut value = T::default();
    ok!(clGetImageInfo(
        image,
        parameter,
        size_of::<T>(),
        (&raw mut value).cast(),
        null_mut()
    ));
    value
}

/// Type, size, layers, and the region of the whole.
const TYPES: [(u32, [usize; 3], usize, [usize; 3]); 5] = [
    (CL_MEM_OBJECT_IMAGE1D, [701, 0, 0], 0, [701, 1, 1]),
    (CL_MEM_OBJECT_IMAGE2D, [301, 47, 0], 0, [301, 47, 1]),
    (CL_MEM_OBJECT_IMAGE3D, [33, 21, 19], 0, [33, 21, 19]),
    (CL_MEM_OBJECT_IMAGE1D_ARRAY, [301, 0, 0], 9, [301, 9, 1]),
    (CL_MEM_OBJECT_IMAGE2D_ARRAY, [33, 21, 0], 7, [33, 21, 7]),
];

#[test]
fn images_of_every_type_keep_their_pixels() {
    let _alone = alone();
    let gpu = Gpu::new();
    for (format, pixel) in [(RGBA8, 4), (RGBA32F, 16)] {
        let mut images = Vec::new();
        for (at, (image_type, size, layers, region)) in TYPES.into_iter().enumerate() {
            let one = image(
                &gpu,
                CL_MEM_READ_WRITE,
                &format,
                &desc(image_type, size, layers),
                null_mut(),
            );
            let bytes = pattern(region.iter().product::<usize>() * pixel, at);
            write_image(&gpu, one, region, &bytes);
            images.push((one, region, bytes));
        }
        for rounds in 0..2 {
            there_and_back(rounds);
            for (one, region, bytes) in &images {
                assert!(
                    read_image(&gpu, *one, *region, pixel) == *bytes,
                    "{region:?}"
                );
                assert_eq!(info::<usize>(*one, CL_IMAGE_WIDTH), region[0]);
            }
        }
        for (one, ..) in images {
            ok!(clReleaseMemObject(one));
        }
    }
}

#[test]
fn mapped_images_keep_their_address_and_bytes() {
    let _alone = alone();
    let gpu = Gpu::new();
    let mut memory = vec![0_u8; 80 * 21 * 7];
    for (image_type, size, layers, region) in TYPES {
        let whole = region.iter().product::<usize>() * 4;
        let one = image(
            &gpu,
            CL_MEM_READ_WRITE,
            &RGBA8,
            &desc(image_type, size, layers),
            null_mut(),
        );
        let bytes = pattern(whole, 3);
        write_image(&gpu, one, region, &bytes);
        let part = region.map(|length| length.div_ceil(2));
        let origin = [0, 1, 2].map(|at| region[at] - part[at]);
        let (mut row, mut slice) = (0, 0);
        let pointer = make!(clEnqueueMapImage(
            gpu.queue,
            one,
            CL_TRUE,
            CL_MAP_READ | CL_MAP_WRITE,
            origin.as_ptr(),
            part.as_ptr(),
            &raw mut row,
            &raw mut slice,
            0,
            null(),
            null_mut()
        ))
        .cast::<u8>();
        let has_layers = image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
        let y_step = if has_layers { slice } else { row };
        // Where pixel (x, y, z) of the mapped part lies, and where in the whole.
        let at =
            |x: usize, y: usize, z: usize| pointer.wrapping_add(x * 4 + y * y_step + z * slice);
        let of_whole = |x: usize, y: usize, z: usize| {
            ((z + origin[2]) * region[1] + y + origin[1]) * region[0] * 4 + (x + origin[0]) * 4
        };
        let corner = (part[0] - 1, part[1] - 1, part[2] - 1);
        let last = of_whole(corner.0, corner.1, corner.2);
        // SAFETY: pixels inside the mapped part, used by this thread only.
        unsafe {
            assert_eq!(*at(0, 0, 0), bytes[of_whole(0, 0, 0)]);
            assert_eq!(*at(corner.0, corner.1, corner.2), bytes[last]);
            *at(0, 0, 0) = 77;
        }
        there_and_back(1);
        // SAFETY: as above; still mapped.
        unsafe {
            assert_eq!(*at(0, 0, 0), 77);
            assert_eq!(*at(corner.0, corner.1, corner.2), bytes[last]);
            *at(corner.0, corner.1, corner.2) = 78;
        }
        ok!(clEnqueueUnmapMemObject(
            gpu.queue,
            one,
            pointer.cast(),
            0,
            null(),
            null_mut()
        ));
        let again = call!(clEnqueueUnmapMemObject(
            gpu.queue,
            one,
            pointer.cast(),
            0,
            null(),
            null_mut()
        ));
        assert_eq!(again, CL_INVALID_VALUE);
        let mut expected = bytes;
        (expected[of_whole(0, 0, 0)], expected[last]) = (77, 78);
        assert!(read_image(&gpu, one, region, 4) == expected, "{region:?}");
        ok!(clReleaseMemObject(one));
    }
    // The program's own memory, with rows of its own length.
    let mut own = desc(CL_MEM_OBJECT_IMAGE2D, [16, 21, 0], 0);
    own.image_row_pitch = 80;
    let flags = CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR;
    let one = image(&gpu, flags, &RGBA8, &own, memory.as_mut_ptr().cast());
    let bytes = pattern(16 * 21 * 4, 9);
    write_image(&gpu, one, [16, 21, 1], &bytes);
    let (origin, region) = ([2_usize, 3, 0], [4_usize, 5, 1]);
    let mut row = 0;
    let pointer = make!(clEnqueueMapImage(
        gpu.queue,
        one,
        CL_TRUE,
        CL_MAP_WRITE,
        origin.as_ptr(),
        region.as_ptr(),
        &raw mut row,
        null_mut(),
        0,
        null(),
        null_mut()
    ))
    .cast::<u8>();
    assert_eq!(
        (row, pointer as usize - memory.as_ptr() as usize),
        (80, 3 * 80 + 2 * 4)
    );
    // SAFETY: the first and last mapped pixel, used by this thread only.
    unsafe { *pointer = 1 };
    there_and_back(1);
    // SAFETY: as above.
    unsafe {
        assert_eq!(*pointer, 1);
        *pointer.add(4 * 80 + 3 * 4) = 2;
    }
    ok!(clEnqueueUnmapMemObject(
        gpu.queue,
        one,
        pointer.cast(),
        0,
        null(),
        null_mut()
    ));
    let mut expected = bytes;
    (expected[3 * 64 + 8], expected[7 * 64 + 20]) = (1, 2);
    assert!(read_image(&gpu, one, [16, 21, 1], 4) == expected);
    ok!(clReleaseMemObject(one));
}

#[test]
fn images_made_from_buffers_move_with_them() {
    let _alone = alone();
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    let mut of = desc(CL_MEM_OBJECT_IMAGE1D_BUFFER, [64, 0, 0], 0);
    of.buffer = buffer;
    let line = image(&gpu, CL_MEM_READ_WRITE, &RGBA8, &of, null_mut());
    let bytes = pattern(4096, 5);
    gpu.write(buffer, 0, &bytes);
    // A write through the image is a write to the buffer: the next round lists it.
    let mut capture = begin();
    let objects = |capture: &mut runtime::mover::Capture| {
        capture
            .round()
            .regions
            .iter()
            .map(|region| (region.object, region.len))
            .collect::<Vec<_>>()
    };
    let first = objects(&mut capture);
    assert_eq!(
        first.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(),
        [4096]
    );
    assert!(objects(&mut capture).is_empty());
    write_image(&gpu, line, [64, 1, 1], &pattern(256, 6));
    gpu.finish();
    assert_eq!(objects(&mut capture), first);
    drop(capture);
    there_and_back(1);
    assert!(read_image(&gpu, line, [64, 1, 1], 4) == pattern(256, 6));
    assert!(gpu.read::<u8>(buffer, 256, 3840) == bytes[256..]);
    assert_eq!(info::<usize>(line, CL_IMAGE_BUFFER), buffer as usize);
    // The buffer lives on for its image.
    ok!(clReleaseMemObject(buffer));
    there_and_back(0);
    assert!(read_image(&gpu, line, [64, 1, 1], 4) == pattern(256, 6));
    ok!(clReleaseMemObject(line));
}
