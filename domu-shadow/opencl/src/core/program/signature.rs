//! What a build tells of a kernel's arguments.

use std::ffi::c_void;

use opencl_sys::{
    CL_KERNEL_ARG_ACCESS_QUALIFIER, CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME,
    CL_KERNEL_ARG_TYPE_NAME, CL_KERNEL_ARG_TYPE_QUALIFIER,
};

use crate::driver::dispatch::ask;
use crate::driver::query;

/// The driver's answers to `clGetKernelArgInfo`, in the order of [`ARG_INFO`].
pub type ArgInfo = [Option<Vec<u8>>; 5];

/// The parameters of `clGetKernelArgInfo`.
pub const ARG_INFO: [u32; 5] = [
    CL_KERNEL_ARG_ADDRESS_QUALIFIER,
    CL_KERNEL_ARG_ACCESS_QUALIFIER,
    CL_KERNEL_ARG_TYPE_NAME,
    CL_KERNEL_ARG_TYPE_QUALIFIER,
    CL_KERNEL_ARG_NAME,
];

/// What only a build from the source tells of a kernel.
#[derive(Clone)]
pub struct Signature {
    pub args: Box<[ArgInfo]>,
    /// `CL_KERNEL_ATTRIBUTES`; `None` where the driver has no such thing.
    pub attributes: Option<Vec<u8>>,
}

/// Asks the driver about an argument of its kernel.
pub fn arg_info(real: *mut c_void, index: u32) -> ArgInfo {
    ARG_INFO
        .map(|parameter| query::bytes(ask!(real, clGetKernelArgInfo(real, index, parameter))).ok())
}
