//! Samplers.

use std::ffi::c_void;

use opencl_sys::{
    CL_ADDRESS_CLAMP, CL_ADDRESS_MIRRORED_REPEAT, CL_ADDRESS_NONE, CL_FILTER_LINEAR,
    CL_FILTER_NEAREST, CL_INVALID_VALUE, CL_SAMPLER_ADDRESSING_MODE, CL_SAMPLER_CONTEXT,
    CL_SAMPLER_FILTER_MODE, CL_SAMPLER_NORMALIZED_COORDS, CL_SAMPLER_PROPERTIES,
    CL_SAMPLER_REFERENCE_COUNT, CL_TRUE,
};

use crate::call::{creators, entry_points};
use crate::core::context::Context;
use crate::core::sampler::Sampler;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;

fn create(
    context: *mut c_void,
    modes: (u32, u32, u32),
    properties: Vec<u64>,
) -> CLResult<*mut c_void> {
    let context = handle::get::<Context>(context)?;
    let (normalized, addressing, filter) = modes;
    let addressing_known = (CL_ADDRESS_NONE..=CL_ADDRESS_MIRRORED_REPEAT).contains(&addressing);
    if normalized > 1
        || !addressing_known
        || !(CL_FILTER_NEAREST..=CL_FILTER_LINEAR).contains(&filter)
    {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Sampler::create(context, modes, properties))
}

creators! {
    fn clCreateSampler(context: *mut c_void, normalized: u32, addressing: u32, filter: u32) {
        create(context, (normalized, addressing, filter), Vec::new())
    }

    fn clCreateSamplerWithProperties(context: *mut c_void, properties: In<u64>) {
        let list = properties.until_zero(2);
        let mut modes = (CL_TRUE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST);
        for pair in list.chunks_exact(2) {
            let value = u32::try_from(pair[1]).map_err(|_| CL_INVALID_VALUE)?;
            match u32::try_from(pair[0]) {
                Ok(CL_SAMPLER_NORMALIZED_COORDS) => modes.0 = value,
                Ok(CL_SAMPLER_ADDRESSING_MODE) => modes.1 = value,
                Ok(CL_SAMPLER_FILTER_MODE) => modes.2 = value,
                _ => return Err(CL_INVALID_VALUE),
            }
        }
        create(context, modes, list)
    }
}

entry_points! {
    fn clRetainSampler(sampler: *mut c_void) {
        handle::retain::<Sampler>(sampler)
    }

    fn clReleaseSampler(sampler: *mut c_void) {
        handle::release::<Sampler>(sampler)
    }

    fn clGetSamplerInfo(sampler: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let sampler = handle::get::<Sampler>(sampler)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_SAMPLER_REFERENCE_COUNT => answer.value(sampler.slot.references()),
            CL_SAMPLER_CONTEXT => answer.value(sampler.context.slot.handle()),
            CL_SAMPLER_NORMALIZED_COORDS => answer.value(sampler.normalized),
            CL_SAMPLER_ADDRESSING_MODE => answer.value(sampler.addressing),
            CL_SAMPLER_FILTER_MODE => answer.value(sampler.filter),
            CL_SAMPLER_PROPERTIES if sampler.context.devices[0].platform.spec >= (3, 0) => {
                answer.list(&sampler.properties)
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
