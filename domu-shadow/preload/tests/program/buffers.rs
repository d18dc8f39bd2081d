//! Buffers: sub-buffers, maps, copies.

use crate::common::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut, without_provenance_mut};

#[test]
fn sub_buffers_share_their_parents_bytes() {
    let gpu = Gpu::new();
    let parent = gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_HOST_READ_ONLY, 8192);
    let region = cl_buffer_region {
        origin: 4096,
        size: 1024,
    };
    let info = (&raw const region).cast();
    let sub = make!(clCreateSubBuffer(
        parent,
        CL_MEM_READ_WRITE,
        CL_BUFFER_CREATE_TYPE_REGION,
        info
    ));
    let pattern = 7_u32;
    ok!(clEnqueueFillBuffer(
        gpu.queue,
        parent,
        (&raw const pattern).cast(),
        4,
        0,
        8192,
        0,
        null(),
        null_mut()
    ));
    let kernel = gpu.kernel(COUNT, "count");
    set(kernel, 0, &sub);
    gpu.run(kernel, 256);
    assert_eq!(gpu.read::<u32>(parent, 4092, 3), [7, 8, 8]);
    // The parent's host access is inherited, and was kept from the driver.
    let code = call!(clEnqueueWriteBuffer(
        gpu.queue,
        sub,
        CL_TRUE,
        0,
        4,
        (&raw const pattern).cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(code, CL_INVALID_OPERATION);
    let (mut of, mut offset, mut flags) = (null_mut::<c_void>(), 0_usize, 0_u64);
    ok!(clGetMemObjectInfo(
        sub,
        CL_MEM_ASSOCIATED_MEMOBJECT,
        8,
        (&raw mut of).cast(),
        null_mut()
    ));
    ok!(clGetMemObjectInfo(
        sub,
        CL_MEM_OFFSET,
        8,
        (&raw mut offset).cast(),
        null_mut()
    ));
    ok!(clGetMemObjectInfo(
        parent,
        CL_MEM_FLAGS,
        8,
        (&raw mut flags).cast(),
        null_mut()
    ));
    assert_eq!(
        (of, offset, flags),
        (parent, 4096, CL_MEM_READ_WRITE | CL_MEM_HOST_READ_ONLY)
    );
    // A sub-buffer lives on without the program's reference to its parent.
    ok!(clReleaseMemObject(parent));
    assert_eq!(gpu.read::<u32>(sub, 0, 1), [8]);
    ok!(clReleaseMemObject(sub));
    assert_eq!(call!(clReleaseMemObject(sub)), CL_INVALID_MEM_OBJECT);
}

/// Maps, and gives the memory as a slice for the length of `with`.
fn mapped(
    gpu: &Gpu,
    buffer: Handle,
    flags: u64,
    offset: usize,
    bytes: usize,
    with: impl FnOnce(&mut [u8]),
) -> usize {
    let pointer = make!(clEnqueueMapBuffer(
        gpu.queue,
        buffer,
        CL_TRUE,
        flags,
        offset,
        bytes,
        0,
        null(),
        null_mut()
    ));
    // SAFETY: a mapped region of `bytes` bytes, used by this thread only, until it is unmapped below.
    with(unsafe { std::slice::from_raw_parts_mut(pointer.cast::<u8>(), bytes) });
    ok!(clEnqueueUnmapMemObject(
        gpu.queue,
        buffer,
        pointer,
        0,
        null(),
        null_mut()
    ));
    pointer as usize
}

#[test]
fn maps_buffers_of_every_kind() {
    let gpu = Gpu::new();
    let mut host = vec![1_u8; 8192];
    let start: Vec<u8> = vec![1; 8192];
    let buffers = [
        gpu.buffer(CL_MEM_READ_WRITE, 8192),
        gpu.buffer(CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, 8192),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_USE_HOST_PTR,
            8192,
            host.as_mut_ptr().cast()
        )),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR,
            8192,
            start.as_ptr().cast_mut().cast()
        )),
        make!(clCreateBuffer(
            gpu.context,
            CL_MEM_COPY_HOST_PTR,
            8192,
            start.as_ptr().cast_mut().cast()
        )),
    ];
    for (at, &buffer) in buffers.iter().enumerate() {
        if at < 2 {
            gpu.write(buffer, 0, &start);
        }
        let first = mapped(&gpu, buffer, CL_MAP_READ | CL_MAP_WRITE, 100, 50, |bytes| {
            assert_eq!(bytes, [1; 50], "kind {at}");
            bytes.fill(2);
        });
        let second = mapped(&gpu, buffer, CL_MAP_READ, 0, 8192, |bytes| {
            assert_eq!(
                (bytes[99], bytes[100], bytes[149], bytes[150]),
                (1, 2, 2, 1),
                "kind {at}"
            );
        });
        assert_eq!(first, second + 100, "kind {at}");
        mapped(
            &gpu,
            buffer,
            CL_MAP_WRITE_INVALIDATE_REGION,
            8000,
            192,
            |bytes| bytes.fill(3),
        );
        assert_eq!(gpu.read::<u8>(buffer, 7999, 3), [1, 3, 3], "kind {at}");
        if at == 2 {
            assert_eq!(second, host.as_ptr() as usize);
        }
        let mut pointer = 1_usize;
        ok!(clGetMemObjectInfo(
            buffer,
            CL_MEM_HOST_PTR,
            8,
            (&raw mut pointer).cast(),
            null_mut()
        ));
        assert_eq!(pointer, if at == 2 { host.as_ptr() as usize } else { 0 });
        ok!(clReleaseMemObject(buffer));
    }
}

#[test]
fn overlapping_maps_are_consistent_and_counted() {
    let gpu = Gpu::new();
    let buffer = gpu.buffer(CL_MEM_READ_WRITE, 4096);
    gpu.write(buffer, 0, &[5_u8; 4096]);
    let count = || {
        let mut count = 0_u32;
        ok!(clGetMemObjectInfo(
            buffer,
            CL_MEM_MAP_COUNT,
            4,
            (&raw mut count).cast(),
            null_mut()
        ));
        count
    };
    mapped(
        &gpu,
        buffer,
        CL_MAP_READ | CL_MAP_WRITE,
        1000,
        100,
        |outer| {
            outer.fill(9);
            mapped(&gpu, buffer, CL_MAP_READ, 900, 300, |inner| {
                assert_eq!(
                    (inner[99], inner[100], inner[199], inner[200]),
                    (5, 9, 9, 5)
                );
                assert_eq!(count(), 2);
            });
            assert_eq!(count(), 1);
        },
    );
    assert_eq!(count(), 0);
    assert_eq!(gpu.read::<u8>(buffer, 999, 2), [5, 9]);
    let unmapped = call!(clEnqueueUnmapMemObject(
        gpu.queue,
        buffer,
        without_provenance_mut(8),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(unmapped, CL_INVALID_VALUE);
}

#[test]
fn copies_and_rectangles() {
    let gpu = Gpu::new();
    let (a, b) = (
        gpu.buffer(CL_MEM_READ_WRITE, 64),
        gpu.buffer(CL_MEM_READ_WRITE, 64),
    );
    let bytes: Vec<u8> = (0..64).collect();
    gpu.write(a, 0, &bytes);
    gpu.write(b, 0, &[0_u8; 64]);
    ok!(clEnqueueCopyBuffer(
        gpu.queue,
        a,
        b,
        8,
        0,
        8,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(gpu.read::<u8>(b, 0, 9), [8, 9, 10, 11, 12, 13, 14, 15, 0]);
    // 2 × 2 bytes at (1, 1) of rows of 8.
    let (from, to, region) = ([1_usize, 1, 0], [4_usize, 4, 0], [2_usize, 2, 1]);
    ok!(clEnqueueCopyBufferRect(
        gpu.queue,
        a,
        b,
        from.as_ptr(),
        to.as_ptr(),
        region.as_ptr(),
        8,
        0,
        8,
        0,
        0,
        null(),
        null_mut()
    ));
    assert_eq!(
        (gpu.read::<u8>(b, 36, 2), gpu.read::<u8>(b, 44, 2)),
        (vec![9, 10], vec![17, 18])
    );
    let mut square = [0_u8; 4];
    let zero = [0_usize; 3];
    ok!(clEnqueueReadBufferRect(
        gpu.queue,
        a,
        CL_TRUE,
        from.as_ptr(),
        zero.as_ptr(),
        region.as_ptr(),
        8,
        0,
        2,
        0,
        square.as_mut_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(square, [9, 10, 17, 18]);
    ok!(clEnqueueWriteBufferRect(
        gpu.queue,
        b,
        CL_TRUE,
        zero.as_ptr(),
        zero.as_ptr(),
        region.as_ptr(),
        8,
        0,
        2,
        0,
        square.as_ptr().cast(),
        0,
        null(),
        null_mut()
    ));
    assert_eq!(
        (gpu.read::<u8>(b, 0, 2), gpu.read::<u8>(b, 8, 2)),
        (vec![9, 10], vec![17, 18])
    );
    let both = [a, b];
    ok!(clEnqueueMigrateMemObjects(
        gpu.queue,
        2,
        both.as_ptr(),
        0,
        0,
        null(),
        null_mut()
    ));
    gpu.finish();
}
