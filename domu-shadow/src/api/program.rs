//! Programs: creation, building, queries.

use std::ffi::{CString, c_char, c_uchar, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_DEVICE, CL_INVALID_OPERATION, CL_INVALID_VALUE, CL_PROGRAM_BUILD_LOG,
    CL_PROGRAM_BUILD_OPTIONS, CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_CONTEXT, CL_PROGRAM_DEVICES,
    CL_PROGRAM_NUM_DEVICES, CL_PROGRAM_REFERENCE_COUNT, CL_PROGRAM_SOURCE, cl_context,
    cl_device_id, cl_int, cl_platform_id, cl_program, cl_program_build_info, cl_program_info,
};

use super::caller::Caller;
use super::context::devices_of;
use super::entry::entry;
use super::info::Answer;
use crate::callbacks;
use crate::core::CLResult;
use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::handle::{self, Object};
use crate::core::program::{self, Origin, Program, Step};
use crate::driver::dispatch::{create, status};

type NotifyArgument = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

/// The devices a program is to be built for: those of the list, or all of the program's (an empty list to the driver).
fn build_devices(
    caller: &Caller,
    of: &[Arc<Device>],
    count: u32,
    list: *const cl_device_id,
) -> CLResult<Vec<Arc<Device>>> {
    if (count == 0) != list.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    let devices = devices_of(caller, count, list)?;
    if devices
        .iter()
        .all(|device| of.iter().any(|one| Arc::ptr_eq(one, device)))
    {
        Ok(devices)
    } else {
        Err(CL_INVALID_DEVICE)
    }
}

/// Builds are made in the call; the program's callback comes right behind, also for a failed one.
fn finish(
    program: *mut c_void,
    answer: CLResult<()>,
    notify: NotifyArgument,
    user: *mut c_void,
) -> CLResult<()> {
    const BUILD_ENDED: [cl_int; 3] = [
        opencl_sys::CL_BUILD_PROGRAM_FAILURE,
        opencl_sys::CL_COMPILE_PROGRAM_FAILURE,
        opencl_sys::CL_LINK_PROGRAM_FAILURE,
    ];
    let ended = match answer {
        Ok(()) => true,
        Err(code) => BUILD_ENDED.contains(&code),
    };
    if let Some(call) = notify.filter(|_| ended) {
        let (program, user) = (program as usize, user as usize);
        // SAFETY: the program gave the function for a call with its program and its own user data.
        callbacks::run(move || unsafe { call(program as *mut c_void, user as *mut c_void) });
    }
    answer
}

fn check_notify(notify: NotifyArgument, user: *mut c_void) -> CLResult<()> {
    if notify.is_none() && !user.is_null() {
        Err(CL_INVALID_VALUE)
    } else {
        Ok(())
    }
}

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
        let real = context.real.get();
        let mut text = source.as_ptr().cast();
        let bytes = source.len();
        // An empty program: a length of 0 would mean a zero-ended string.
        if bytes == 0 {
            text = c"".as_ptr();
        }
        let program = create!(real, clCreateProgramWithSource(real, 1, &raw mut text, &raw const bytes))?;
        let devices = context.devices.clone();
        Ok(handle::publish(Program::of(context, devices, Origin::Source(source), program)))
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
        let reals = program::reals(&devices);
        let program = create!(
            real,
            clCreateProgramWithBinary(real, count, reals.as_ptr(), lengths.as_ptr(), binaries, binary_status)
        )?;
        Ok(handle::publish(Program::of(context, devices, Origin::Binary(copies), program)))
    }

    fn clRetainProgram(_caller, program: cl_program) -> status {
        handle::retain::<Program>(program)
    }

    #[drains]
    fn clReleaseProgram(_caller, program: cl_program) -> status {
        handle::release::<Program>(program)
    }

    fn clBuildProgram(
        caller,
        program: cl_program,
        count: u32,
        devices: *const cl_device_id,
        options: *const c_char,
        notify: NotifyArgument,
        user: *mut c_void,
    ) -> status {
        let shadow = handle::share::<Program>(program)?;
        check_notify(notify, user)?;
        let devices = build_devices(caller, &shadow.devices, count, devices)?;
        if matches!(shadow.origin, Origin::Linked) {
            return Err(CL_INVALID_OPERATION);
        }
        let answer = shadow.build(devices, Step::Build { options: caller.text(options) });
        finish(program, answer, notify, user)
    }

    fn clCompileProgram(
        caller,
        program: cl_program,
        count: u32,
        devices: *const cl_device_id,
        options: *const c_char,
        header_count: u32,
        headers: *const cl_program,
        names: *mut *const c_char,
        notify: NotifyArgument,
        user: *mut c_void,
    ) -> status {
        let shadow = handle::share::<Program>(program)?;
        check_notify(notify, user)?;
        let devices = build_devices(caller, &shadow.devices, count, devices)?;
        if (header_count == 0) != headers.is_null() || headers.is_null() != names.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let names = caller.list(names.cast_const(), header_count as usize).iter();
        let headers = caller.list(headers, header_count as usize).iter();
        let headers = headers
            .zip(names)
            .map(|(&header, &name)| Ok((caller.text(name).unwrap_or_default(), handle::share::<Program>(header)?)))
            .collect::<CLResult<Vec<(CString, Arc<Program>)>>>()?;
        let answer = shadow.build(devices, Step::Compile { options: caller.text(options), headers });
        finish(program, answer, notify, user)
    }

    fn clLinkProgram(
        caller,
        context: cl_context,
        count: u32,
        devices: *const cl_device_id,
        options: *const c_char,
        input_count: u32,
        inputs: *const cl_program,
        notify: NotifyArgument,
        user: *mut c_void,
    ) -> object {
        let context = handle::share::<Context>(context)?;
        check_notify(notify, user)?;
        let devices = build_devices(caller, &context.devices, count, devices)?;
        if input_count == 0 || inputs.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let inputs = caller.list(inputs, input_count as usize).iter();
        let inputs = inputs.map(|&input| handle::share::<Program>(input)).collect::<CLResult<Vec<_>>>()?;
        let step = Step::Link { options: caller.text(options), inputs };
        let real = program::link(&context, &devices, &step)?;
        let devices = if devices.is_empty() { context.devices.clone() } else { devices };
        let program = Program::of(context, devices, Origin::Linked, real);
        program.linked(step);
        let handle = handle::publish(program);
        finish(handle, Ok(()), notify, user)?;
        Ok(handle)
    }

    /// A hint that drivers may ignore, and so may we.
    fn clUnloadCompiler(_caller) -> status {
        Ok(())
    }

    fn clUnloadPlatformCompiler(caller, platform: cl_platform_id) -> status {
        let platform = handle::borrow::<crate::core::platform::Platform>(caller, platform)?;
        let real = platform.real.get();
        status!(real, clUnloadPlatformCompiler(real))
    }

    fn clGetProgramInfo(
        caller,
        program: cl_program,
        parameter: cl_program_info,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let answer = Answer { caller, size, value, size_ret };
        let program = handle::borrow::<Program>(caller, program)?;
        let real = program.real.get();
        match (parameter, &program.origin) {
            (CL_PROGRAM_REFERENCE_COUNT, _) => answer.uint(program.slot().references()),
            (CL_PROGRAM_CONTEXT, _) => answer.handle(program.context.slot().handle()),
            (CL_PROGRAM_NUM_DEVICES, _) => answer.uint(program.devices.len() as u32),
            (CL_PROGRAM_DEVICES, _) => answer.handles(program.devices.iter().map(|device| device.slot().handle())),
            (CL_PROGRAM_SOURCE, Origin::Source(source)) => answer.text(source),
            _ => status!(real, clGetProgramInfo(real, parameter, size, value, size_ret)),
        }
    }

    fn clGetProgramBuildInfo(
        caller,
        program: cl_program,
        device: cl_device_id,
        parameter: cl_program_build_info,
        size: usize,
        value: *mut c_void,
        size_ret: *mut usize,
    ) -> status {
        let answer = Answer { caller, size, value, size_ret };
        let program = handle::borrow::<Program>(caller, program)?;
        let device = handle::borrow::<Device>(caller, device)?;
        if !program.devices.iter().any(|one| std::ptr::eq(&**one, device)) {
            return Err(CL_INVALID_DEVICE);
        }
        let (real, real_device) = (program.real.get(), device.real.get());
        match (parameter, program.kept(device)) {
            (CL_PROGRAM_BUILD_OPTIONS, _) => {
                let building = program.building();
                let options = building.last.as_ref().and_then(|(_, step)| step.options().cloned());
                answer.text(options.unwrap_or_default().as_bytes())
            }
            (CL_PROGRAM_BUILD_LOG, Some(kept)) => answer.bytes(&kept.log),
            (CL_PROGRAM_BUILD_STATUS, Some(kept)) => answer.bytes(&kept.status.to_ne_bytes()),
            _ => status!(real, clGetProgramBuildInfo(real, real_device, parameter, size, value, size_ret)),
        }
    }
}
