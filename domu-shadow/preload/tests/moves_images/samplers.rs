//! Samplers, as arguments and over a move.

use std::ptr::null_mut;

use crate::common::moving::*;
use crate::common::*;
use crate::{RGBA8, desc, image, pattern, write_image};

const SAMPLE: &str = "
__kernel void sample(__read_only image2d_t from, sampler_t sampler, __global uint *out) {
    size_t i = get_global_id(0);
    out[i] = read_imageui(from, sampler, (int2)(i, 0)).x;
}";

#[test]
fn samplers_are_arguments_and_move() {
    let _alone = alone();
    let gpu = Gpu::new();
    let mode = (CL_ADDRESS_CLAMP_TO_EDGE, CL_FILTER_NEAREST);
    let sampler = make!(clCreateSampler(gpu.context, CL_FALSE, mode.0, mode.1));
    let list: [u64; 3] = [CL_SAMPLER_ADDRESSING_MODE.into(), CL_ADDRESS_NONE.into(), 0];
    let listed = make!(clCreateSamplerWithProperties(gpu.context, list.as_ptr()));
    let from = image(
        &gpu,
        CL_MEM_READ_ONLY,
        &RGBA8,
        &desc(CL_MEM_OBJECT_IMAGE2D, [16, 2, 0], 0),
        null_mut(),
    );
    write_image(&gpu, from, [16, 2, 1], &pattern(128, 1));
    let out = gpu.buffer(CL_MEM_READ_WRITE, 32 * 4);
    let kernel = gpu.kernel(SAMPLE, "sample");
    set(kernel, 0, &from);
    set(kernel, 1, &sampler);
    set(kernel, 2, &out);
    let bad = call!(clSetKernelArg(kernel, 1, 8, (&raw const out).cast()));
    assert_eq!(bad, CL_INVALID_SAMPLER);
    for rounds in 0..2 {
        gpu.write(out, 0, &[0_u32; 32]);
        gpu.run(kernel, 32);
        let sampled: Vec<u32> = gpu.read(out, 0, 32);
        // Clamped to the edge.
        let expected = |at: usize| u32::from(pattern(128, 1)[at.min(15) * 4]);
        assert!((0..32).all(|at| sampled[at] == expected(at)), "{sampled:?}");
        there_and_back(rounds);
        let (mut filter, mut context) = (0_u32, 0_usize);
        let to = (&raw mut filter).cast();
        ok!(clGetSamplerInfo(
            sampler,
            CL_SAMPLER_FILTER_MODE,
            4,
            to,
            null_mut()
        ));
        let to = (&raw mut context).cast();
        ok!(clGetSamplerInfo(
            sampler,
            CL_SAMPLER_CONTEXT,
            8,
            to,
            null_mut()
        ));
        assert_eq!((filter, context), (CL_FILTER_NEAREST, gpu.context as usize));
        let mut addressing = 0_u32;
        let to = (&raw mut addressing).cast();
        ok!(clGetSamplerInfo(
            listed,
            CL_SAMPLER_ADDRESSING_MODE,
            4,
            to,
            null_mut()
        ));
        assert_eq!(addressing, CL_ADDRESS_NONE);
    }
    for one in [sampler, listed] {
        ok!(clRetainSampler(one));
        ok!(clReleaseSampler(one));
        ok!(clReleaseSampler(one));
        assert_eq!(call!(clReleaseSampler(one)), CL_INVALID_SAMPLER);
    }
    for one in [from, out] {
        ok!(clReleaseMemObject(one));
    }
}
