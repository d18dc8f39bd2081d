//! Kernels: creation, arguments. `kernel_info` has the queries.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_ARG_INDEX, CL_INVALID_ARG_SIZE, CL_INVALID_ARG_VALUE, CL_INVALID_COMMAND_QUEUE,
    CL_INVALID_DEVICE_QUEUE, CL_INVALID_MEM_OBJECT, CL_INVALID_VALUE, cl_int, cl_kernel, cl_mem,
    cl_program,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::kernel::arg::Arg;
use crate::core::kernel::arg_kind::ArgKind;
use crate::core::kernel::set_handle;
use crate::core::{Caller, Kernel, Mem, Object, Program, Queue, Sampler, handle};
use crate::driver::dispatch::{create, status};

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
    if handle.is_null() {
        // A NULL buffer is allowed; a wrong size is the driver's to refuse.
        status!(k, clSetKernelArg(k, index, size, value))?;
        arg.set_size(size);
        return Ok(());
    }
    if size != size_of::<cl_mem>() {
        return set_mem_of_size(k, caller, index, size, handle, arg);
    }
    let mem = handle::borrow::<Mem>(caller, handle).map_err(|_| CL_INVALID_MEM_OBJECT)?;
    set_handle(k, index, mem.real.get())?;
    arg.set_mem(handle as usize, mem.slot().id());
    Ok(())
}

/// "`CL_INVALID_ARG_SIZE` … if the argument is a memory object and `arg_size` != `sizeof(cl_mem)`", where the driver says so: NULL in
/// place of the value it might take.
#[cold]
fn set_mem_of_size(
    kernel: *mut c_void,
    caller: &Caller,
    index: u32,
    size: usize,
    handle: cl_mem,
    arg: &Arg,
) -> CLResult<()> {
    let mem = handle::borrow::<Mem>(caller, handle).map_err(|_| CL_INVALID_ARG_SIZE)?;
    let mut value = [std::ptr::null_mut(); 16];
    if size > size_of_val(&value) {
        return Err(CL_INVALID_ARG_SIZE);
    }
    value[0] = mem.real.get();
    let value = value.as_ptr().cast();
    status!(kernel, clSetKernelArg(kernel, index, size, value))?;
    arg.set_mem(handle as usize, mem.slot().id());
    Ok(())
}

/// The one object that the program names as an argument: its handle and itself.
fn named<T: Object>(caller: &Caller, size: usize, value: *const c_void) -> CLResult<(usize, &T)> {
    if size != size_of::<*mut c_void>() {
        return Err(CL_INVALID_ARG_SIZE);
    }
    let handle = caller.list(value.cast::<*mut c_void>(), 1).first();
    let handle = *handle.ok_or(CL_INVALID_ARG_VALUE)?;
    Ok((handle as usize, handle::borrow::<T>(caller, handle)?))
}

fn device_queue(code: cl_int) -> cl_int {
    if code == CL_INVALID_COMMAND_QUEUE {
        CL_INVALID_DEVICE_QUEUE
    } else {
        code
    }
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
    } else if handle::borrow::<Queue>(caller, handle).is_ok() {
        ArgKind::Queue
    } else {
        ArgKind::Value
    }
}

entry! {
    fn clCreateKernel(caller, program: cl_program, name: *const c_char) -> object {
        let program = handle::share::<Program>(program)?;
        let text = caller.text(name).ok_or(CL_INVALID_VALUE)?;
        program.prepare_kernel(Some(&text));
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
        if !kernels.is_null() {
            program.prepare_kernel(None);
        }
        let real = program.real.get();
        let mut available = 0;
        status!(real, clCreateKernelsInProgram(real, 0, std::ptr::null_mut(), &raw mut available))?;
        if !kernels.is_null() {
            if entries < available {
                return Err(CL_INVALID_VALUE);
            }
            let mut reals = vec![std::ptr::null_mut(); available as usize];
            if available > 0 {
                let room = reals.as_mut_ptr();
                status!(real, clCreateKernelsInProgram(real, available, room, std::ptr::null_mut()))?;
            }
            let shadows = reals.into_iter().map(|real| Kernel::of(Arc::clone(&program), real));
            // All of them first: each owns what the driver gave.
            let shadows: Vec<_> = shadows.collect();
            let shadows = shadows.into_iter().collect::<CLResult<Vec<_>>>()?;
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
        clone.copy_settings(kernel);
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
        let real = kernel.real.get();
        match kind {
            ArgKind::Mem { .. } => return set_mem(caller, kernel, index, size, value, arg),
            ArgKind::Sampler => {
                let (handle, sampler) = named::<Sampler>(caller, size, value)?;
                set_handle(real, index, sampler.real.get())?;
                arg.set_sampler(handle, sampler.slot().id());
                return Ok(());
            }
            ArgKind::Queue => {
                // "`CL_INVALID_DEVICE_QUEUE` for an argument declared to be of type queue_t".
                let (handle, queue) = named::<Queue>(caller, size, value).map_err(device_queue)?;
                set_handle(real, index, queue.real.get())?;
                arg.set_queue(handle, queue.slot().id());
                return Ok(());
            }
            ArgKind::Value | ArgKind::Local | ArgKind::Unknown => {}
        }
        status!(real, clSetKernelArg(real, index, size, value))?;
        if value.is_null() {
            arg.set_size(size);
        } else {
            arg.set_bytes(caller.list(value.cast::<u8>(), size));
        }
        Ok(())
    }
}
