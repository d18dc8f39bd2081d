//! Programs: creation, queries. `build` has what compiles and links.

use std::ffi::{c_char, c_uchar, c_void};

use opencl_sys::{
    CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES,
    CL_PROGRAM_BINARY_TYPE, CL_PROGRAM_BUILD_LOG, CL_PROGRAM_BUILD_OPTIONS,
    CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_CONTEXT, CL_PROGRAM_DEVICES, CL_PROGRAM_IL,
    CL_PROGRAM_NUM_DEVICES, CL_PROGRAM_REFERENCE_COUNT, CL_PROGRAM_SOURCE, cl_context,
    cl_device_id, cl_int, cl_program, cl_program_build_info, cl_program_info,
};

use super::context::devices_of;
use super::entry::entry;
use crate::core::destructor_callbacks::Destructor;
use crate::core::device::driver_handles;
use crate::core::program::Origin;
use crate::core::program::arg_info_option::without_our_option;
use crate::core::{Context, Device, Object, Program, handle};
use crate::driver::dispatch::{ask, create, status};
use crate::driver::query;

/// A program release callback that asks whether a driver takes them.
unsafe extern "C" fn ignored(_program: *mut c_void, _user: *mut c_void) {}

entry! {
    fn clCreateProgramWithSource(
        caller,
        context: cl_context,
        count: u32,
        strings: *mut *const c_char,
        lengths: *const usize,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        let strings = caller.list(strings.cast_const(), count as usize);
        if strings.is_empty() || strings.iter().any(|string| string.is_null()) {
            return Err(CL_INVALID_VALUE);
        }
        let lengths = caller.list(lengths, count as usize);
        let length = |at: usize| lengths.get(at).copied().unwrap_or(0);
        let source: Vec<u8> =
            strings.iter().enumerate().flat_map(|(at, &string)| caller.source(string, length(at))).collect();
        let devices = context.devices.clone();
        Ok(handle::publish(Program::create(context, devices, Origin::Source(source))?))
    }

    fn clCreateProgramWithBinary(
        caller,
        context: cl_context,
        count: u32,
        devices: *const cl_device_id,
        lengths: *const usize,
        binaries: *mut *const c_uchar,
        binary_status: *mut cl_int,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        if count == 0 || devices.is_null() || lengths.is_null() || binaries.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let devices = devices_of(caller, count, devices)?;
        let lengths = caller.list(lengths, count as usize);
        let pointers = caller.list(binaries.cast_const(), count as usize);
        let copies = pointers.iter().zip(lengths).map(|(&pointer, &length)| caller.list(pointer, length).to_vec());
        let copies = copies.collect();
        let real = context.real.get();
        let reals = driver_handles(&devices);
        let program = create!(
            real,
            clCreateProgramWithBinary(real, count, reals.as_ptr(), lengths.as_ptr(), binaries, binary_status)
        )?;
        Ok(handle::publish(Program::of(context, devices, Origin::Binary(copies), program)))
    }

    fn clCreateProgramWithIL(caller, context: cl_context, il: *const c_void, length: usize) -> object {
        let context = handle::share::<Context>(context)?;
        let il = caller.list(il.cast::<u8>(), length).to_vec();
        if il.is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        let devices = context.devices.clone();
        Ok(handle::publish(Program::create(context, devices, Origin::Il(il))?))
    }

    fn clCreateProgramWithBuiltInKernels(
        caller,
        context: cl_context,
        count: u32,
        devices: *const cl_device_id,
        names: *const c_char,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        let names = caller.text(names).ok_or(CL_INVALID_VALUE)?;
        let devices = devices_of(caller, count, devices)?;
        if devices.is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        Ok(handle::publish(Program::create(context, devices, Origin::BuiltIn(names))?))
    }

    fn clSetProgramSpecializationConstant(
        caller,
        program: cl_program,
        id: u32,
        size: usize,
        value: *const c_void,
    ) -> status {
        let program = handle::borrow::<Program>(caller, program)?;
        let value = caller.list(value.cast::<u8>(), size);
        if value.is_empty() {
            return Err(CL_INVALID_VALUE);
        }
        program.specialize(id, value)
    }

    /// The driver says whether it has such callbacks; the program's are called when its own object is gone, not when a
    /// move releases the driver's.
    fn clSetProgramReleaseCallback(
        caller,
        program: cl_program,
        call: Option<Destructor>,
        user: *mut c_void,
    ) -> status {
        let program = handle::borrow::<Program>(caller, program)?;
        let real = program.real.get();
        let asking = call.map(|_| ignored as Destructor);
        status!(real, clSetProgramReleaseCallback(real, asking, std::ptr::null_mut()))?;
        program.destructors.add(call.ok_or(CL_INVALID_VALUE)?, user as usize);
        Ok(())
    }

    fn clRetainProgram(_caller, program: cl_program) -> status {
        handle::retain::<Program>(program)
    }

    #[drains]
    fn clReleaseProgram(_caller, program: cl_program) -> status {
        handle::release::<Program>(program)
    }

    fn clGetProgramInfo(caller, answer, program: cl_program, parameter: cl_program_info) -> info {
        let program = handle::borrow::<Program>(caller, program)?;
        let real = program.real.get();
        match (parameter, &program.origin) {
            (CL_PROGRAM_REFERENCE_COUNT, _) => answer.uint(program.slot().references()),
            (CL_PROGRAM_CONTEXT, _) => answer.handle(program.context.slot().handle()),
            (CL_PROGRAM_NUM_DEVICES, _) => answer.uint(program.devices.len() as u32),
            (CL_PROGRAM_DEVICES, _) => answer.handles(program.devices.iter().map(|device| device.slot().handle())),
            (CL_PROGRAM_SOURCE, Origin::Source(source)) => answer.text(source),
            (CL_PROGRAM_IL, Origin::Il(il)) => answer.bytes(il),
            (CL_PROGRAM_BINARY_SIZES, _) if !answer.value.is_null() => {
                answer.longs(Some(program.binary_sizes()?.into_iter().map(|size| size as u64)))
            }
            (CL_PROGRAM_BINARIES, _) if let Some(binaries) = program.sized_binaries() => {
                let room = binaries.len() * size_of::<*mut u8>();
                if !answer.value.is_null() && answer.size < room {
                    return Err(CL_INVALID_VALUE);
                }
                // "Each entry in this array … can be NULL".
                let places = caller.list(answer.value.cast::<*mut u8>(), binaries.len()).iter();
                places.zip(&*binaries).for_each(|(&place, binary)| caller.give_list(place, binary));
                caller.give(answer.size_ret, room);
                Ok(())
            }
            (CL_PROGRAM_BINARIES | CL_PROGRAM_BINARY_SIZES, _) => program.without_arg_info(|real| {
                answer.driver(ask!(real, clGetProgramInfo(real, parameter)))
            }),
            _ => answer.driver(ask!(real, clGetProgramInfo(real, parameter))),
        }
    }

    fn clGetProgramBuildInfo(
        caller,
        answer,
        program: cl_program,
        device: cl_device_id,
        parameter: cl_program_build_info,
    ) -> info {
        let program = handle::borrow::<Program>(caller, program)?;
        let device = handle::borrow::<Device>(caller, device)?;
        if !program.devices.iter().any(|one| std::ptr::eq(&**one, device)) {
            return Err(CL_INVALID_DEVICE);
        }
        let (real, real_device) = (program.real.get(), device.real.get());
        match (parameter, program.outcome(device)) {
            (CL_PROGRAM_BUILD_OPTIONS, _) => {
                let building = program.building();
                let options = building.of(device).and_then(|built| built.step.options().cloned());
                answer.text(options.unwrap_or_default().as_bytes())
            }
            (CL_PROGRAM_BUILD_LOG, Some(kept)) => answer.bytes(&kept.log),
            (CL_PROGRAM_BUILD_LOG, None) if program.adds_arg_info() => {
                let log = query::bytes(ask!(real, clGetProgramBuildInfo(real, real_device, parameter)))?;
                answer.bytes(&without_our_option(log))
            }
            (CL_PROGRAM_BINARY_TYPE, Some(kept)) if !kept.binary_type.is_empty() => answer.bytes(&kept.binary_type),
            (CL_PROGRAM_BUILD_STATUS, Some(kept)) => answer.bytes(&kept.status.to_ne_bytes()),
            _ => answer.driver(ask!(real, clGetProgramBuildInfo(real, real_device, parameter))),
        }
    }
}
