//! Kernels: queries.

use std::ffi::c_void;

use opencl_sys::{
    CL_INVALID_GLOBAL_WORK_SIZE, CL_INVALID_VALUE, CL_KERNEL_ARG_INFO_NOT_AVAILABLE,
    CL_KERNEL_ATTRIBUTES, CL_KERNEL_CONTEXT, CL_KERNEL_PROGRAM, CL_KERNEL_REFERENCE_COUNT,
    cl_command_queue, cl_device_id, cl_kernel, cl_kernel_arg_info, cl_kernel_info,
    cl_kernel_sub_group_info, cl_kernel_work_group_info,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::program::signature::ARG_INFO;
use crate::core::{Caller, Device, Kernel, Object, Queue, handle};
use crate::driver::dispatch::{ask, table_of};
use crate::driver::extension::suggest_local_size;

/// "device … can be NULL" where the kernel has one device only; the driver checks that.
fn device_of(caller: &Caller, device: cl_device_id) -> CLResult<*mut c_void> {
    if device.is_null() {
        return Ok(device);
    }
    Ok(handle::borrow::<Device>(caller, device)?.real.get())
}

entry! {
    fn clGetKernelInfo(caller, answer, kernel: cl_kernel, parameter: cl_kernel_info) -> info {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let real = kernel.real.get();
        match parameter {
            CL_KERNEL_ATTRIBUTES if let Some(attributes) = &kernel.signature.attributes => answer.bytes(attributes),
            CL_KERNEL_REFERENCE_COUNT => answer.uint(kernel.slot().references()),
            CL_KERNEL_CONTEXT => answer.handle(kernel.program.context.slot().handle()),
            CL_KERNEL_PROGRAM => answer.handle(kernel.program.slot().handle()),
            _ => answer.driver(ask!(real, clGetKernelInfo(real, parameter))),
        }
    }

    fn clGetKernelArgInfo(caller, answer, kernel: cl_kernel, index: u32, parameter: cl_kernel_arg_info) -> info {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let ask = |real: *mut c_void| answer.driver(ask!(real, clGetKernelArgInfo(real, index, parameter)));
        if kernel.program.adds_arg_info() {
            // The program did not ask for it, so it gets what the driver says then: nothing, or (pocl, of a build whose options were NULL) all the same.
            return kernel.without_arg_info(ask);
        }
        let at = ARG_INFO.iter().position(|&known| known == parameter);
        match (kernel.signature.args.get(index as usize), at) {
            (Some(info), Some(at)) => answer.bytes(info[at].as_ref().ok_or(CL_KERNEL_ARG_INFO_NOT_AVAILABLE)?),
            _ => ask(kernel.real.get()),
        }
    }

    fn clGetKernelWorkGroupInfo(
        caller,
        answer,
        kernel: cl_kernel,
        device: cl_device_id,
        parameter: cl_kernel_work_group_info,
    ) -> info {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        let device = device_of(caller, device)?;
        answer.driver(ask!(real, clGetKernelWorkGroupInfo(real, device, parameter)))
    }

    fn clGetKernelSubGroupInfo(
        caller,
        answer,
        kernel: cl_kernel,
        device: cl_device_id,
        parameter: cl_kernel_sub_group_info,
        input_size: usize,
        input: *const c_void,
    ) -> info {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        let device = device_of(caller, device)?;
        if table_of(real).clGetKernelSubGroupInfo.is_none() {
            // OpenCL 2.0 with cl_khr_subgroups.
            return answer.driver(ask!(real, clGetKernelSubGroupInfoKHR(real, device, parameter, input_size, input)));
        }
        answer.driver(ask!(real, clGetKernelSubGroupInfo(real, device, parameter, input_size, input)))
    }

    fn clGetKernelSuggestedLocalWorkSize(
        caller,
        queue: cl_command_queue,
        kernel: cl_kernel,
        dimensions: u32,
        offset: *const usize,
        global: *const usize,
        suggested: *mut usize,
    ) -> status {
        let queue = handle::borrow::<Queue>(caller, queue)?;
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        if suggested.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        if global.is_null() {
            return Err(CL_INVALID_GLOBAL_WORK_SIZE);
        }
        let platform = queue.device.platform.real.get();
        let (q, k) = (queue.real.get(), kernel.real.get());
        suggest_local_size(platform, q, k, dimensions, [offset, global], suggested)
    }
}

// Drivers of OpenCL 2.0 only know the extension's name; the parameters are the same.
pub use clGetKernelSubGroupInfo as clGetKernelSubGroupInfoKHR;
