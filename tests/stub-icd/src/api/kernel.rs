//! Kernels.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_ARG_INDEX, CL_INVALID_KERNEL_NAME, CL_INVALID_OPERATION,
    CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_VALUE, CL_KERNEL_ARG_ACCESS_NONE,
    CL_KERNEL_ARG_ACCESS_QUALIFIER, CL_KERNEL_ARG_ACCESS_READ_ONLY,
    CL_KERNEL_ARG_ACCESS_READ_WRITE, CL_KERNEL_ARG_ACCESS_WRITE_ONLY,
    CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_ADDRESS_LOCAL,
    CL_KERNEL_ARG_ADDRESS_PRIVATE, CL_KERNEL_ARG_ADDRESS_QUALIFIER,
    CL_KERNEL_ARG_INFO_NOT_AVAILABLE, CL_KERNEL_ARG_NAME, CL_KERNEL_ARG_TYPE_CONST,
    CL_KERNEL_ARG_TYPE_NAME, CL_KERNEL_ARG_TYPE_QUALIFIER, CL_KERNEL_ARG_TYPE_RESTRICT,
    CL_KERNEL_ARG_TYPE_VOLATILE, CL_KERNEL_ATTRIBUTES, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
    CL_KERNEL_CONTEXT, CL_KERNEL_FUNCTION_NAME, CL_KERNEL_LOCAL_MEM_SIZE, CL_KERNEL_NUM_ARGS,
    CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, CL_KERNEL_PRIVATE_MEM_SIZE, CL_KERNEL_PROGRAM,
    CL_KERNEL_REFERENCE_COUNT, CL_KERNEL_WORK_GROUP_SIZE, cl_kernel,
};

use crate::call::{creators, entry_points};
use crate::core::device::Device;
use crate::core::kernel::Kernel;
use crate::core::program::Program;
use crate::ffi::{CLResult, HostIn, HostOut, Out, Text};
use crate::handle;
use crate::info::Answer;
use crate::kernels::parse::{Access, Parameter, Signature, Space};
use crate::options;

creators! {
    fn clCreateKernel(program: *mut c_void, name: Text) {
        let program = handle::get::<Program>(program)?;
        if !program.is_executable() {
            return Err(CL_INVALID_PROGRAM_EXECUTABLE);
        }
        let name = name.get().ok_or(CL_INVALID_VALUE)?;
        let kernels = program.build().kernels.clone();
        let signature = kernels.iter().find(|kernel| kernel.name == name).ok_or(CL_INVALID_KERNEL_NAME)?;
        Ok(Kernel::create(program, signature.clone()))
    }

    fn clCloneKernel(kernel: *mut c_void) {
        Ok(handle::get::<Kernel>(kernel)?.copy())
    }
}

entry_points! {
    fn clCreateKernelsInProgram(
        program: *mut c_void,
        num_kernels: u32,
        kernels: Out<cl_kernel>,
        num_kernels_ret: Out<u32>,
    ) {
        let program = handle::get::<Program>(program)?;
        if !program.is_executable() {
            return Err(CL_INVALID_PROGRAM_EXECUTABLE);
        }
        let found = program.build().kernels.clone();
        if !kernels.is_null() {
            if (num_kernels as usize) < found.len() {
                return Err(CL_INVALID_VALUE);
            }
            let make = |signature: &Arc<Signature>| Kernel::create(program.clone(), signature.clone());
            kernels.set_list(&found.iter().map(make).collect::<Vec<_>>());
        }
        num_kernels_ret.set(found.len() as u32);
        Ok(())
    }

    fn clRetainKernel(kernel: *mut c_void) {
        handle::retain::<Kernel>(kernel)
    }

    fn clReleaseKernel(kernel: *mut c_void) {
        handle::release::<Kernel>(kernel)
    }

    fn clSetKernelArg(kernel: *mut c_void, index: u32, size: usize, value: HostIn) {
        handle::get::<Kernel>(kernel)?.set(index as usize, size, value)
    }

    fn clSetKernelArgSVMPointer(kernel: *mut c_void, index: u32, value: HostIn) {
        handle::get::<Kernel>(kernel)?;
        let _ = (index, value);
        Err(CL_INVALID_OPERATION)
    }

    fn clSetKernelExecInfo(kernel: *mut c_void, name: u32, size: usize, value: HostIn) {
        handle::get::<Kernel>(kernel)?;
        let _ = (name, size, value);
        if options::in_force().svm_system { Ok(()) } else { Err(CL_INVALID_OPERATION) }
    }

    fn clGetKernelInfo(kernel: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let kernel = handle::get::<Kernel>(kernel)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_KERNEL_FUNCTION_NAME => answer.text(&kernel.signature.name),
            CL_KERNEL_NUM_ARGS => answer.value(kernel.signature.parameters.len() as u32),
            CL_KERNEL_REFERENCE_COUNT => answer.value(kernel.slot.references()),
            CL_KERNEL_CONTEXT => answer.value(kernel.program.context.slot.handle()),
            CL_KERNEL_PROGRAM => answer.value(kernel.program.handle()),
            CL_KERNEL_ATTRIBUTES => {
                let attribute = |[x, y, z]: [usize; 3]| format!("reqd_work_group_size({x},{y},{z})");
                answer.text(&kernel.signature.group.map(attribute).unwrap_or_default())
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clGetKernelArgInfo(
        kernel: *mut c_void,
        index: u32,
        name: u32,
        size: usize,
        value: HostOut,
        size_ret: Out<usize>,
    ) {
        let kernel = handle::get::<Kernel>(kernel)?;
        let parameter = kernel.signature.parameters.get(index as usize).ok_or(CL_INVALID_ARG_INDEX)?;
        if !kernel.program.has_arg_info() {
            return Err(CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
        }
        arg_info(parameter, name, Answer::new(size, value, size_ret))
    }

    fn clGetKernelWorkGroupInfo(
        kernel: *mut c_void,
        device: *mut c_void,
        name: u32,
        size: usize,
        value: HostOut,
        size_ret: Out<usize>,
    ) {
        let kernel = handle::get::<Kernel>(kernel)?;
        if !device.is_null() {
            kernel.program.context.device(device)?;
        }
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_KERNEL_WORK_GROUP_SIZE => answer.value(Device::MAX_WORK_GROUP_SIZE),
            CL_KERNEL_COMPILE_WORK_GROUP_SIZE => answer.list(&kernel.signature.group.unwrap_or_default()),
            CL_KERNEL_LOCAL_MEM_SIZE => answer.value(kernel.local_memory()),
            CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE => answer.value(32_usize),
            CL_KERNEL_PRIVATE_MEM_SIZE => answer.value(0_u64),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clGetKernelSubGroupInfo(
        kernel: *mut c_void,
        device: *mut c_void,
        name: u32,
        input_size: usize,
        input: HostIn,
        size: usize,
        value: HostOut,
        size_ret: Out<usize>,
    ) {
        handle::get::<Kernel>(kernel)?;
        let _ = (device, name, input_size, input, size, value, size_ret);
        Err(CL_INVALID_OPERATION)
    }
}

fn arg_info(parameter: &Parameter, name: u32, answer: Answer) -> CLResult<()> {
    match name {
        CL_KERNEL_ARG_ADDRESS_QUALIFIER => answer.value(match parameter.space {
            Space::Global => CL_KERNEL_ARG_ADDRESS_GLOBAL,
            Space::Local => CL_KERNEL_ARG_ADDRESS_LOCAL,
            Space::Constant => CL_KERNEL_ARG_ADDRESS_CONSTANT,
            Space::Private => CL_KERNEL_ARG_ADDRESS_PRIVATE,
        }),
        CL_KERNEL_ARG_ACCESS_QUALIFIER => answer.value(match parameter.access {
            Access::ReadOnly => CL_KERNEL_ARG_ACCESS_READ_ONLY,
            Access::WriteOnly => CL_KERNEL_ARG_ACCESS_WRITE_ONLY,
            Access::ReadWrite => CL_KERNEL_ARG_ACCESS_READ_WRITE,
            Access::None => CL_KERNEL_ARG_ACCESS_NONE,
        }),
        CL_KERNEL_ARG_TYPE_NAME => answer.text(&parameter.type_name),
        CL_KERNEL_ARG_NAME => answer.text(&parameter.name),
        CL_KERNEL_ARG_TYPE_QUALIFIER => {
            let pointer = parameter.type_name.ends_with('*');
            let bit = |set: bool, bit: u32| if set && pointer { u64::from(bit) } else { 0 };
            answer.value(
                bit(parameter.is_const, CL_KERNEL_ARG_TYPE_CONST)
                    | bit(parameter.is_restrict, CL_KERNEL_ARG_TYPE_RESTRICT)
                    | bit(parameter.is_volatile, CL_KERNEL_ARG_TYPE_VOLATILE),
            )
        }
        _ => Err(CL_INVALID_VALUE),
    }
}
