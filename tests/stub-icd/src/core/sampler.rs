//! Samplers.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_INVALID_SAMPLER, cl_int};

use super::context::Context;
use crate::handle::{self, Object, Slot};

pub struct Sampler {
    pub slot: Slot,
    pub context: Arc<Context>,
    pub normalized: u32,
    pub addressing: u32,
    pub filter: u32,
    /// As passed to `clCreateSamplerWithProperties`.
    pub properties: Vec<u64>,
}

impl Object for Sampler {
    const KIND: &'static str = "cl_sampler";
    const INVALID: cl_int = CL_INVALID_SAMPLER;
}

impl Sampler {
    pub fn create(
        context: Arc<Context>,
        (normalized, addressing, filter): (u32, u32, u32),
        properties: Vec<u64>,
    ) -> *mut c_void {
        let make = |slot| Sampler {
            slot,
            context,
            normalized,
            addressing,
            filter,
            properties,
        };
        handle::publish(1, make).slot.handle()
    }
}
