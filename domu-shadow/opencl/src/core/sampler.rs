//! Samplers.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_OPERATION, CL_INVALID_SAMPLER, CL_SAMPLER_ADDRESSING_MODE, CL_SAMPLER_FILTER_MODE,
    CL_SAMPLER_NORMALIZED_COORDS, cl_addressing_mode, cl_bool, cl_filter_mode,
    cl_sampler_properties,
};

use super::context::Context;
use super::driver_handle::DriverHandle;
use super::handle::{Slot, object};
use crate::CLResult;
use crate::driver::dispatch::{create, released, status, table_of};

/// How the program created the sampler: made again the same way.
#[derive(Clone, Debug)]
pub enum Creation {
    /// `clCreateSampler`.
    Classic {
        normalized: cl_bool,
        addressing: cl_addressing_mode,
        filter: cl_filter_mode,
    },
    /// `clCreateSamplerWithProperties`, with the list as passed (ending zero included) or NULL.
    List(Option<Vec<cl_sampler_properties>>),
}

pub struct Sampler {
    slot: Slot<Sampler>,
    pub real: DriverHandle,
    pub context: Arc<Context>,
    pub creation: Creation,
}

object!(Sampler, CL_INVALID_SAMPLER);

impl Sampler {
    /// # Errors
    /// The driver's.
    pub fn create(context: Arc<Context>, creation: Creation) -> CLResult<Arc<Sampler>> {
        let sampler = Sampler {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            context,
            creation,
        };
        sampler.recreate()?;
        Ok(Arc::new(sampler))
    }

    /// Makes the driver's sampler: at creation, and again after a move.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        let context = self.context.real.get();
        let real = match &self.creation {
            Creation::Classic {
                normalized,
                addressing,
                filter,
            } => classic(context, *normalized, *addressing, *filter)?,
            Creation::List(list) => {
                let list = list.as_ref().map_or(std::ptr::null(), |list| list.as_ptr());
                create!(context, clCreateSamplerWithProperties(context, list))?
            }
        };
        self.real.set(real);
        Ok(())
    }

    /// Releases the driver's sampler; made again by [`Sampler::recreate`].
    pub fn release_driver(&self) {
        if let Some(real) = self.real.take() {
            released("a sampler", status!(real, clReleaseSampler(real)));
        }
    }
}

/// `clCreateSampler`, which drivers of OpenCL 2.0 and later may have left out.
fn classic(
    context: *mut c_void,
    normalized: cl_bool,
    addressing: cl_addressing_mode,
    filter: cl_filter_mode,
) -> CLResult<*mut c_void> {
    let table = table_of(context);
    if table.clCreateSampler.is_some() {
        return create!(
            context,
            clCreateSampler(context, normalized, addressing, filter)
        );
    }
    if table.clCreateSamplerWithProperties.is_none() {
        return Err(CL_INVALID_OPERATION);
    }
    let list: [cl_sampler_properties; 7] = [
        CL_SAMPLER_NORMALIZED_COORDS.into(),
        normalized.into(),
        CL_SAMPLER_ADDRESSING_MODE.into(),
        addressing.into(),
        CL_SAMPLER_FILTER_MODE.into(),
        filter.into(),
        0,
    ];
    create!(
        context,
        clCreateSamplerWithProperties(context, list.as_ptr())
    )
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.release_driver();
    }
}
