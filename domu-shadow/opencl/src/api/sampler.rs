//! Samplers.

use opencl_sys::{
    CL_SAMPLER_CONTEXT, CL_SAMPLER_PROPERTIES, CL_SAMPLER_REFERENCE_COUNT, cl_addressing_mode,
    cl_bool, cl_context, cl_filter_mode, cl_sampler, cl_sampler_info, cl_sampler_properties,
};

use super::entry::entry;
use crate::core::sampler::Creation;
use crate::core::{Context, Object, Sampler, handle};
use crate::driver::dispatch::ask;

entry! {
    fn clCreateSampler(
        _caller,
        context: cl_context,
        normalized: cl_bool,
        addressing: cl_addressing_mode,
        filter: cl_filter_mode,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        let creation = Creation::Classic { normalized, addressing, filter };
        Ok(handle::publish(Sampler::create(context, creation)?))
    }

    fn clCreateSamplerWithProperties(
        caller,
        context: cl_context,
        properties: *const cl_sampler_properties,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        let creation = Creation::List(caller.properties(properties));
        Ok(handle::publish(Sampler::create(context, creation)?))
    }

    fn clRetainSampler(_caller, sampler: cl_sampler) -> status {
        handle::retain::<Sampler>(sampler)
    }

    #[drains]
    fn clReleaseSampler(_caller, sampler: cl_sampler) -> status {
        handle::release::<Sampler>(sampler)
    }

    fn clGetSamplerInfo(caller, answer, sampler: cl_sampler, parameter: cl_sampler_info) -> info {
        let sampler = handle::borrow::<Sampler>(caller, sampler)?;
        let real = sampler.real.get();
        match (parameter, &sampler.creation) {
            (CL_SAMPLER_REFERENCE_COUNT, _) => answer.uint(sampler.slot().references()),
            (CL_SAMPLER_CONTEXT, _) => answer.handle(sampler.context.slot().handle()),
            (CL_SAMPLER_PROPERTIES, Creation::List(Some(list))) => answer.longs(Some(list.iter().copied())),
            (CL_SAMPLER_PROPERTIES, _) => answer.bytes(&[]),
            _ => answer.driver(ask!(real, clGetSamplerInfo(real, parameter))),
        }
    }
}
