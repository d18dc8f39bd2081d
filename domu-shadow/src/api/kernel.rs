//! Kernels: creation, arguments, queries.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_ARG_INDEX, CL_INVALID_ARG_SIZE, CL_INVALID_ARG_VALUE, CL_INVALID_MEM_OBJECT,
    CL_INVALID_VALUE, CL_KERNEL_ARG_INFO_NOT_AVAILABLE, CL_KERNEL_CONTEXT, CL_KERNEL_PROGRAM,
    CL_KERNEL_REFERENCE_COUNT, cl_device_id, cl_kernel, cl_kernel_arg_info, cl_kernel_info,
    cl_kernel_sub_group_info, cl_kernel_work_group_info, cl_mem, cl_program, cl_sampler,
};

use super::caller::Caller;
use super::entry::entry;
use super::info::Answer;
use crate::core::CLResult;
use crate::core::device::Device;
use crate::core::handle::{self, Object};
use crate::core::kernel::{ARG_INFO, Kernel, set_handle};
use crate::core::kernel_arg::{Arg, ArgKind};
use crate::core::mem::Mem;
use crate::core::program::Program;
use crate::core::sampler::Sampler;
use crate::driver::dispatch::{create, status};

/// "device … can be NULL" where the kernel has one device only; the driver checks that.
fn device_of(caller: &Caller, device: cl_device_id) -> CLResult<*mut c_void> {
    if device.is_null() {
        return Ok(device);
    }
    Ok(handle::borrow::<Device>(caller, device)?.real.get())
}

/// Sets an argument that is a buffer.
#[inline]
fn set_mem(
    caller: &Caller,
    kernel: &Kernel,
    index: u32,
    size: usize,
    value: *const c_void,
    arg: &Arg,
) -> CLResult<()> {
    let k = kernel.real.get();
    let handle = caller
        .list(value.cast::<cl_mem>(), 1)
        .first()
        .copied()
        .unwrap_or(std::ptr::null_mut());
    if handle.is_null() || size != size_of::<cl_mem>() {
        // A NULL buffer is allowed; a wrong size is the driver's to refuse.
        status!(
            k,
            clSetKernelArg(
                k,
                index,
                size,
                if handle.is_null() {
                    value
                } else {
                    std::ptr::null()
                }
            )
        )?;
        arg.set_size(size);
        return Ok(());
    }
    let mem = handle::borrow::<Mem>(caller, handle).map_err(|_| CL_INVALID_MEM_OBJECT)?;
    set_handle(k, index, mem.real.get())?;
    arg.set_mem(handle as usize, mem.slot().id());
    Ok(())
}

/// Sets an argument that is a sampler.
fn set_sampler(
    caller: &Caller,
    kernel: &Kernel,
    index: u32,
    size: usize,
    value: *const c_void,
    arg: &Arg,
) -> CLResult<()> {
    let handle = caller.list(value.cast::<cl_sampler>(), 1).first();
    if size != size_of::<cl_sampler>() {
        return Err(CL_INVALID_ARG_SIZE);
    }
    let handle = *handle.ok_or(CL_INVALID_ARG_VALUE)?;
    let sampler = handle::borrow::<Sampler>(caller, handle)?;
    set_handle(kernel.real.get(), index, sampler.real.get())?;
    arg.set_sampler(handle as usize, sampler.slot().id());
    Ok(())
}

/// Without argument info: eight bytes that are a live object's handle are one.
fn guessed(caller: &Caller, size: usize, value: *const c_void) -> ArgKind {
    let bits = if size == size_of::<cl_mem>() {
        caller.list(value.cast::<[u8; 8]>(), 1)
    } else {
        &[]
    };
    let Some(bits) = bits.first() else {
        return ArgKind::Value;
    };
    let handle = usize::from_ne_bytes(*bits) as *mut c_void;
    if handle::borrow::<Mem>(caller, handle).is_ok() {
        ArgKind::Mem { writable: true }
    } else if handle::borrow::<Sampler>(caller, handle).is_ok() {
        ArgKind::Sampler
    } else {
        ArgKind::Value
    }
}

entry! {
    fn clCreateKernel(caller, program: cl_program, name: *const c_char) -> object {
        let program = handle::share::<Program>(program)?;
        if caller.list(name, 1).is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        let real = program.real.get();
        let kernel = create!(real, clCreateKernel(real, name))?;
        Ok(handle::publish(Kernel::of(program, kernel)?))
    }

    fn clCreateKernelsInProgram(
        caller,
        program: cl_program,
        entries: u32,
        kernels: *mut cl_kernel,
        count: *mut u32,
    ) -> status {
        let program = handle::share::<Program>(program)?;
        let real = program.real.get();
        let mut available = 0;
        status!(real, clCreateKernelsInProgram(real, 0, std::ptr::null_mut(), &raw mut available))?;
        if !kernels.is_null() {
            if entries < available {
                return Err(CL_INVALID_VALUE);
            }
            let mut reals = vec![std::ptr::null_mut(); available as usize];
            let room = reals.as_mut_ptr();
            status!(real, clCreateKernelsInProgram(real, available, room, std::ptr::null_mut()))?;
            let shadows = reals.into_iter().map(|real| Kernel::of(Arc::clone(&program), real));
            let shadows = shadows.collect::<CLResult<Vec<_>>>()?;
            let handles: Vec<_> = shadows.into_iter().map(handle::publish).collect();
            caller.give_list(kernels, &handles);
        }
        caller.give(count, available);
        Ok(())
    }

    fn clCloneKernel(caller, kernel: cl_kernel) -> object {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let real = kernel.real.get();
        let clone = Kernel::of(Arc::clone(&kernel.program), create!(real, clCloneKernel(real))?)?;
        for (to, from) in clone.args.iter().zip(&kernel.args) {
            to.copy_from(from);
        }
        Ok(handle::publish(clone))
    }

    fn clRetainKernel(_caller, kernel: cl_kernel) -> status {
        handle::retain::<Kernel>(kernel)
    }

    #[drains]
    fn clReleaseKernel(_caller, kernel: cl_kernel) -> status {
        handle::release::<Kernel>(kernel)
    }

    fn clSetKernelArg(caller, kernel: cl_kernel, index: u32, size: usize, value: *const c_void) -> status {
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let arg = kernel.args.get(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
        let kind = if arg.kind == ArgKind::Unknown { guessed(caller, size, value) } else { arg.kind };
        match kind {
            ArgKind::Mem { .. } => return set_mem(caller, kernel, index, size, value, arg),
            ArgKind::Sampler => return set_sampler(caller, kernel, index, size, value, arg),
            ArgKind::Value | ArgKind::Local | ArgKind::Unknown => {}
        }
        let real = kernel.real.get();
        status!(real, clSetKernelArg(real, index, size, value))?;
        if value.is_null() {
            arg.set_size(size);
        } else {
            arg.set_bytes(caller.list(value.cast::<u8>(), size));
        }
        Ok(())
    }

    fn clGetKernelInfo(
        caller,
        kernel: cl_kernel,
        parameter: cl_kernel_info,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let answer = Answer { caller, size, value, size_ret };
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let real = kernel.real.get();
        match parameter {
            CL_KERNEL_REFERENCE_COUNT => answer.uint(kernel.slot().references()),
            CL_KERNEL_CONTEXT => answer.handle(kernel.program.context.slot().handle()),
            CL_KERNEL_PROGRAM => answer.handle(kernel.program.slot().handle()),
            _ => status!(real, clGetKernelInfo(real, parameter, size, value, size_ret)),
        }
    }

    fn clGetKernelArgInfo(
        caller,
        kernel: cl_kernel,
        index: u32,
        parameter: cl_kernel_arg_info,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let answer = Answer { caller, size, value, size_ret };
        let kernel = handle::borrow::<Kernel>(caller, kernel)?;
        let info = kernel.arg_info.get(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
        let at = ARG_INFO.iter().position(|&known| known == parameter).ok_or(CL_INVALID_VALUE)?;
        match &info[at] {
            // The info is there because we asked for it: a program that did not must see it missing.
            Some(bytes) if kernel.program.shows_arg_info() => answer.bytes(bytes),
            _ => Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE),
        }
    }

    fn clGetKernelWorkGroupInfo(
        caller,
        kernel: cl_kernel,
        device: cl_device_id,
        parameter: cl_kernel_work_group_info,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        let device = device_of(caller, device)?;
        status!(real, clGetKernelWorkGroupInfo(real, device, parameter, size, value, size_ret))
    }

    fn clGetKernelSubGroupInfo(
        caller,
        kernel: cl_kernel,
        device: cl_device_id,
        parameter: cl_kernel_sub_group_info,
        input_size: usize,
        input: *const c_void,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let real = handle::borrow::<Kernel>(caller, kernel)?.real.get();
        let device = device_of(caller, device)?;
        status!(
            real,
            clGetKernelSubGroupInfo(real, device, parameter, input_size, input, size, value, size_ret)
        )
    }
}

// Drivers of OpenCL 2.0 only know the extension's name; the parameters are the same.
pub use clGetKernelSubGroupInfo as clGetKernelSubGroupInfoKHR;
