//! Programs: making, holding, asking. `build` has what compiles and links.

use std::ffi::{c_char, c_uchar, c_void};

use opencl_sys::{
    CL_BUILD_SUCCESS, CL_INVALID_BINARY, CL_INVALID_PROGRAM_EXECUTABLE, CL_INVALID_VALUE,
    CL_PROGRAM_BINARIES, CL_PROGRAM_BINARY_SIZES, CL_PROGRAM_BINARY_TYPE,
    CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, CL_PROGRAM_BUILD_LOG, CL_PROGRAM_BUILD_OPTIONS,
    CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_CONTEXT, CL_PROGRAM_DEVICES, CL_PROGRAM_IL,
    CL_PROGRAM_KERNEL_NAMES, CL_PROGRAM_NUM_DEVICES, CL_PROGRAM_NUM_KERNELS,
    CL_PROGRAM_REFERENCE_COUNT, CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT,
    CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT, CL_PROGRAM_SOURCE, CL_SUCCESS, cl_device_id,
};

use crate::binary;
use crate::call::{creators, entry_points};
use crate::callback::Notify;
use crate::core::context::Context;
use crate::core::program::{Origin, Program};
use crate::ffi::{HostIn, HostOut, In, Out, blobs, texts};
use crate::info::Answer;
use crate::{handle, il, options};

type ProgramNotify = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

creators! {
    fn clCreateProgramWithSource(
        context: *mut c_void,
        count: u32,
        strings: Out<*const c_char>,
        lengths: In<usize>,
    ) {
        let context = handle::get::<Context>(context)?;
        let parts = texts(strings, lengths, count as usize).filter(|parts| !parts.is_empty());
        let source = parts.ok_or(CL_INVALID_VALUE)?.concat();
        let devices = context.devices.clone();
        Ok(Program::new(context, devices, source, Origin::Source).handle())
    }

    fn clCreateProgramWithIL(context: *mut c_void, module: HostIn, length: usize) {
        let context = handle::get::<Context>(context)?;
        let text = module.bytes(length).and_then(|module| il::read(&module)).ok_or(CL_INVALID_VALUE)?;
        let devices = context.devices.clone();
        Ok(Program::new(context, devices, text, Origin::Il).handle())
    }

    fn clCreateProgramWithBinary(
        context: *mut c_void,
        num_devices: u32,
        device_list: In<cl_device_id>,
        lengths: In<usize>,
        binaries: Out<*const c_uchar>,
        binary_status: Out<i32>,
    ) {
        let context = handle::get::<Context>(context)?;
        let list = device_list.list(num_devices as usize).filter(|list| !list.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let devices = context.devices_of(&list)?;
        let blobs = blobs(binaries, lengths, list.len()).ok_or(CL_INVALID_VALUE)?;
        let read: Vec<_> = devices.iter().zip(&blobs).map(|(device, blob)| binary::read(device, blob)).collect();
        let status = |read: &Result<_, i32>| read.as_ref().err().copied().unwrap_or(CL_SUCCESS);
        binary_status.set_list(&read.iter().map(status).collect::<Vec<_>>());
        let contents = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        let content = contents.into_iter().next().ok_or(CL_INVALID_BINARY)?;
        Ok(Program::of_binary(context, devices, content).handle())
    }
}

entry_points! {
    fn clRetainProgram(program: *mut c_void) {
        handle::retain::<Program>(program)
    }

    fn clReleaseProgram(program: *mut c_void) {
        handle::release::<Program>(program)
    }

    fn clSetProgramReleaseCallback(program: *mut c_void, notify: ProgramNotify, user_data: *mut c_void) {
        let program = handle::get::<Program>(program)?;
        let notify = Notify::new(notify, user_data).ok_or(CL_INVALID_VALUE)?;
        program.destructors.add(notify);
        Ok(())
    }

    fn clSetProgramSpecializationConstant(program: *mut c_void, id: u32, size: usize, value: HostIn) {
        let program = handle::get::<Program>(program)?;
        program.specialize(id, value.bytes(size).and_then(|bytes| bytes.try_into().ok()))
    }

    fn clGetProgramInfo(program: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let program = handle::get::<Program>(program)?;
        let answer = Answer::new(size, value, size_ret);
        let binaries = || program.devices.iter().map(|device| program.binary(device)).collect::<Vec<_>>();
        let kernels = || {
            let build = program.build();
            if build.status == CL_BUILD_SUCCESS { Ok(build.kernels.clone()) } else { Err(CL_INVALID_PROGRAM_EXECUTABLE) }
        };
        match name {
            CL_PROGRAM_REFERENCE_COUNT => answer.value(program.slot.references()),
            CL_PROGRAM_CONTEXT => answer.value(program.context.slot.handle()),
            CL_PROGRAM_NUM_DEVICES => answer.value(program.devices.len() as u32),
            CL_PROGRAM_DEVICES => {
                answer.list(&program.devices.iter().map(|device| device.slot.handle()).collect::<Vec<_>>())
            }
            CL_PROGRAM_SOURCE => answer.text(program.shown_source()),
            CL_PROGRAM_BINARY_SIZES => answer.list(&binaries().iter().map(Vec::len).collect::<Vec<_>>()),
            CL_PROGRAM_BINARIES => answer.behind_pointers(&binaries()),
            CL_PROGRAM_NUM_KERNELS => answer.value(kernels()?.len()),
            CL_PROGRAM_KERNEL_NAMES => {
                answer.text(&kernels()?.iter().map(|kernel| kernel.name.as_str()).collect::<Vec<_>>().join(";"))
            }
            CL_PROGRAM_IL => answer.bytes(&program.shown_il()),
            CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT | CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT => answer.value(false),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clGetProgramBuildInfo(
        program: *mut c_void,
        device: *mut c_void,
        name: u32,
        size: usize,
        value: HostOut,
        size_ret: Out<usize>,
    ) {
        let program = handle::get::<Program>(program)?;
        program.context.device(device)?;
        let build = program.build().clone();
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_PROGRAM_BUILD_STATUS => answer.value(build.status),
            CL_PROGRAM_BUILD_OPTIONS => answer.text(&build.options),
            CL_PROGRAM_BUILD_LOG => answer.text(&build.log),
            CL_PROGRAM_BINARY_TYPE => answer.value(build.kind),
            CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE if build.status == CL_BUILD_SUCCESS => {
                answer.value(options::in_force().global_variables)
            }
            CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE => answer.value(0_usize),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
