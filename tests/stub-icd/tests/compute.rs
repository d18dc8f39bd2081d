//! Buffers and kernels compute what they should.

#[macro_use]
mod support;

use opencl_sys::*;
use support::Stub;

const SOURCE: &str = "
    kernel void fill_seq(global uint *out) {}
    kernel void add(global const uint *a, global const uint *b, global uint *c) {}
    kernel void xorshift(global uint *state, uint rounds) {}
    kernel void sum(global const uint *in, global uint *out) {}
    kernel void accumulate(global uint *a, global const uint *b) {}
    kernel void reverse(global uint *a, local uint *scratch) {}";

#[test]
fn kernels_compute() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let (a, b, c) = (
        stub.buffer(context, 64),
        stub.buffer(context, 64),
        stub.buffer(context, 64),
    );
    assert_eq!(
        stub.read(queue, a, 16),
        [0xcbcb_cbcb_u32; 16],
        "fresh memory is not zero"
    );
    let kernel = |name: &str| stub.kernel(context, SOURCE, name);
    let (fill, add, sum, mix) = (
        kernel("fill_seq"),
        kernel("add"),
        kernel("sum"),
        kernel("xorshift"),
    );
    assert_eq!(
        (stub.set(fill, 0, &a), stub.launch(queue, fill, 16)),
        (0, 0)
    );
    stub.write(queue, b, &[100; 16]);
    assert_eq!(
        (
            stub.set(add, 0, &a),
            stub.set(add, 1, &b),
            stub.set(add, 2, &c)
        ),
        (0, 0, 0)
    );
    assert_eq!(stub.launch(queue, add, 16), 0);
    assert_eq!(stub.read(queue, c, 16), (100..116).collect::<Vec<u32>>());
    assert_eq!(
        (
            stub.set(sum, 0, &a),
            stub.set(sum, 1, &b),
            stub.launch(queue, sum, 16)
        ),
        (0, 0, 0)
    );
    assert_eq!(stub.read(queue, b, 2), [120, 100]);
    assert_eq!(
        (
            stub.set(mix, 0, &a),
            stub.set(mix, 1, &1_u32),
            stub.launch(queue, mix, 2)
        ),
        (0, 0, 0)
    );
    assert_eq!(stub.read(queue, a, 3), [0, 270_369, 2]);
    for kernel in [fill, add, sum, mix] {
        assert_eq!(0, cl!(kernel, clReleaseKernel(kernel)));
    }
    for mem in [a, b, c] {
        assert_eq!(0, cl!(mem, clReleaseMemObject(mem)));
    }
    assert_eq!(0, cl!(queue, clReleaseCommandQueue(queue)));
    assert_eq!(0, cl!(context, clReleaseContext(context)));
}

#[test]
fn local_memory_and_values_are_typed() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let buffer = stub.buffer(context, 32);
    stub.write(queue, buffer, &[0, 1, 2, 3, 4, 5, 6, 7]);
    let kernel = stub.kernel(context, SOURCE, "reverse");
    assert_eq!(stub.set(kernel, 0, &buffer), 0);
    assert_eq!(
        cl!(kernel, clSetKernelArg(kernel, 1, 16, std::ptr::null())),
        0
    );
    assert_eq!(
        cl!(
            kernel,
            clSetKernelArg(kernel, 1, 16, (&raw const buffer).cast())
        ),
        CL_INVALID_ARG_VALUE
    );
    assert_eq!(
        cl!(kernel, clSetKernelArg(kernel, 2, 16, std::ptr::null())),
        CL_INVALID_ARG_INDEX
    );
    let (global, local, null) = (8_usize, 4_usize, std::ptr::null_mut());
    let none = std::ptr::null();
    let list = std::ptr::null();
    let code = cl!(
        queue,
        clEnqueueNDRangeKernel(
            queue,
            kernel,
            1,
            none,
            &raw const global,
            &raw const local,
            0,
            list,
            null
        )
    );
    assert_eq!(code, 0);
    assert_eq!(stub.read(queue, buffer, 8), [3, 2, 1, 0, 7, 6, 5, 4]);
    let mix = stub.kernel(context, SOURCE, "xorshift");
    assert_eq!(stub.set(mix, 1, &1_u64), CL_INVALID_ARG_SIZE);
    assert_eq!(
        (stub.set(mix, 0, &buffer), stub.launch(queue, mix, 1)),
        (0, CL_INVALID_KERNEL_ARGS)
    );
}

#[test]
fn copies_fills_and_boxes() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let (from, to) = (stub.buffer(context, 64), stub.buffer(context, 64));
    stub.write(queue, from, &(0..16).collect::<Vec<_>>());
    let (none, null) = (std::ptr::null(), std::ptr::null_mut());
    let pattern = 7_u32;
    let at = (&raw const pattern).cast();
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueFillBuffer(queue, to, at, 4, 0, 64, 0, none, null)
        )
    );
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueCopyBuffer(queue, from, to, 4, 8, 8, 0, none, null)
        )
    );
    assert_eq!(stub.read(queue, to, 5), [7, 7, 1, 2, 7]);
    assert_eq!(
        CL_MEM_COPY_OVERLAP,
        cl!(
            queue,
            clEnqueueCopyBuffer(queue, from, from, 0, 4, 8, 0, none, null)
        )
    );
    // A box of 2 × 2 numbers out of rows of 4, into rows of 2.
    let (source, target, region) = ([4_usize, 1, 0], [0_usize; 3], [8_usize, 2, 1]);
    let code = cl!(
        queue,
        clEnqueueCopyBufferRect(
            queue,
            from,
            to,
            source.as_ptr(),
            target.as_ptr(),
            region.as_ptr(),
            16,
            0,
            8,
            0,
            0,
            none,
            null
        )
    );
    assert_eq!(code, 0);
    assert_eq!(stub.read(queue, to, 4), [5, 6, 9, 10]);
    let mut host = [0_u32; 4];
    let code = cl!(
        queue,
        clEnqueueReadBufferRect(
            queue,
            from,
            CL_TRUE,
            source.as_ptr(),
            target.as_ptr(),
            region.as_ptr(),
            16,
            0,
            0,
            0,
            host.as_mut_ptr().cast(),
            0,
            none,
            null
        )
    );
    assert_eq!((code, host), (0, [5, 6, 9, 10]));
}

#[test]
fn maps_copy_and_sub_buffers_share() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let buffer = stub.buffer(context, 1024);
    stub.write(queue, buffer, &(0..256).collect::<Vec<_>>());
    let region = cl_buffer_region {
        origin: 256,
        size: 64,
    };
    let at = (&raw const region).cast();
    let part = make!(
        buffer,
        clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, at)
    )
    .unwrap();
    let wrong = cl_buffer_region {
        origin: 4,
        size: 64,
    };
    let at = (&raw const wrong).cast();
    let refused = make!(
        buffer,
        clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, at)
    );
    assert_eq!(refused, Err(CL_MISALIGNED_SUB_BUFFER_OFFSET));
    let (none, null) = (std::ptr::null(), std::ptr::null_mut());
    let flags = CL_MAP_READ | CL_MAP_WRITE;
    let mapped = make!(
        queue,
        clEnqueueMapBuffer(queue, part, CL_TRUE, flags, 0, 8, 0, none, null)
    )
    .unwrap();
    let numbers = mapped.cast::<u32>();
    // SAFETY: mapped with 8 bytes until the unmap below.
    unsafe {
        assert_eq!([*numbers, *numbers.add(1)], [64, 65]);
        *numbers = 1000;
    }
    assert_eq!(
        stub.read(queue, part, 1),
        [64],
        "written memory arrives with the unmap"
    );
    assert_eq!(
        0,
        cl!(
            queue,
            clEnqueueUnmapMemObject(queue, part, mapped, 0, none, null)
        )
    );
    assert_eq!(stub.read(queue, buffer, 65)[64], 1000);
    assert_eq!(
        CL_INVALID_VALUE,
        cl!(
            queue,
            clEnqueueUnmapMemObject(queue, part, mapped, 0, none, null)
        )
    );
    let mut own = [5_u32; 4];
    let host = own.as_mut_ptr().cast();
    let shared = make!(
        context,
        clCreateBuffer(context, CL_MEM_USE_HOST_PTR, 16, host)
    )
    .unwrap();
    let mapped = make!(
        queue,
        clEnqueueMapBuffer(queue, shared, CL_TRUE, CL_MAP_READ, 4, 4, 0, none, null)
    )
    .unwrap();
    assert_eq!(mapped.addr(), host.addr() + 4);
}

#[test]
fn a_kernel_that_leaves_its_buffer_fails() {
    let stub = Stub::load();
    let context = stub.context();
    let queue = stub.queue(context, 0);
    let kernel = stub.kernel(context, SOURCE, "fill_seq");
    let buffer = stub.buffer(context, 4);
    assert_eq!(stub.set(kernel, 0, &buffer), 0);
    let (items, none, mut event) = (2_usize, std::ptr::null(), std::ptr::null_mut());
    let code = cl!(
        queue,
        clEnqueueNDRangeKernel(
            queue,
            kernel,
            1,
            none,
            &raw const items,
            none,
            0,
            std::ptr::null(),
            &raw mut event
        )
    );
    assert_eq!(code, 0);
    assert_eq!(
        cl!(event, clWaitForEvents(1, &raw const event)),
        CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST
    );
    assert_eq!(stub.status(event), CL_OUT_OF_RESOURCES);
}
