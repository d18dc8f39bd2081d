//! What the driver says of a build.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_BUILD_NONE, CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
    CL_PROGRAM_BUILD_LOG, CL_PROGRAM_BUILD_STATUS, cl_int,
};

use super::arg_info_option::without_our_option;
use crate::core::device::Device;
use crate::driver::dispatch::ask;
use crate::driver::query;

/// What the driver said about a build, kept over a move.
#[derive(Clone)]
pub struct Outcome {
    pub status: cl_int,
    pub log: Vec<u8>,
    /// `CL_PROGRAM_BINARY_TYPE`; nothing where the driver has no such thing.
    pub binary_type: Vec<u8>,
}

fn build_info(real: *mut c_void, device: &Device, parameter: u32) -> Vec<u8> {
    let device = device.real.get();
    query::bytes(ask!(real, clGetProgramBuildInfo(real, device, parameter))).unwrap_or_default()
}

/// A device's build status, as the driver's program has it now.
pub(super) fn status(real: *mut c_void, device: &Device) -> cl_int {
    let status = build_info(real, device, CL_PROGRAM_BUILD_STATUS);
    let status = status.first_chunk();
    status.map_or(CL_BUILD_NONE, |bytes| cl_int::from_ne_bytes(*bytes))
}

/// All that is kept.
pub(super) fn outcome(real: *mut c_void, device: &Device, adds_arg_info: bool) -> Outcome {
    let log = build_info(real, device, CL_PROGRAM_BUILD_LOG);
    Outcome {
        status: status(real, device),
        binary_type: build_info(real, device, CL_PROGRAM_BINARY_TYPE),
        log: match adds_arg_info {
            true => without_our_option(log),
            false => log,
        },
    }
}

/// Bytes of variables at program scope, of the device that has most.
pub(super) fn variables(real: *mut c_void, devices: &[Arc<Device>]) -> u64 {
    let of_one = |device: &Arc<Device>| {
        let device = device.real.get();
        query::number(ask!(
            real,
            clGetProgramBuildInfo(real, device, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE)
        ))
    };
    // Drivers of before OpenCL 2.0 have none, and an error for the question.
    devices.iter().flat_map(of_one).max().unwrap_or(0)
}
