//! Building, compiling and linking programs.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use opencl_sys::{
    CL_BUILD_PROGRAM_FAILURE, CL_COMPILE_PROGRAM_FAILURE, CL_INVALID_OPERATION, CL_INVALID_VALUE,
    CL_LINK_PROGRAM_FAILURE, CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT,
    CL_PROGRAM_BINARY_TYPE_EXECUTABLE, CL_PROGRAM_BINARY_TYPE_LIBRARY, cl_device_id, cl_program,
};

use crate::call::{creators, entry_points};
use crate::callback::Notify;
use crate::core::context::Context;
use crate::core::platform::Platform;
use crate::core::program::{Origin, Program};
use crate::ffi::{CLResult, In, Out, Text};
use crate::kernels::known;
use crate::{handle, options, thread};

type BuildNotify = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

/// Runs a build; with a callback the outcome is told by it, from another thread, and the call itself succeeds.
fn finish(program: Arc<Program>, notify: Option<Notify>, built: CLResult<()>) -> CLResult<()> {
    let Some(notify) = notify else { return built };
    thread::spawn(Box::new(move || notify.call(program.handle())))
}

fn notify(function: BuildNotify, data: *mut c_void) -> CLResult<Option<Notify>> {
    if function.is_none() && !data.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    Ok(Notify::new(function, data))
}

/// The list of devices and its count must go together.
fn list(count: u32, list: In<cl_device_id>) -> CLResult<Vec<cl_device_id>> {
    if (count == 0) != list.is_null() {
        return Err(CL_INVALID_VALUE);
    }
    Ok(list.list(count as usize).unwrap_or_default())
}

/// "`CL_INVALID_OPERATION` if there are kernel objects attached to program."
fn unattached(program: &Program) -> CLResult<()> {
    if program.kernels.load(Ordering::Relaxed) == 0 {
        Ok(())
    } else {
        Err(CL_INVALID_OPERATION)
    }
}

entry_points! {
    fn clBuildProgram(
        program: *mut c_void,
        num_devices: u32,
        device_list: In<cl_device_id>,
        options: Text,
        function: BuildNotify,
        user_data: *mut c_void,
    ) {
        let program = handle::get::<Program>(program)?;
        let notify = notify(function, user_data)?;
        program.context.devices_of(&list(num_devices, device_list)?)?;
        unattached(&program)?;
        let options = options.get().unwrap_or_default();
        let kind = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
        let built = program.compile(&options, kind, CL_BUILD_PROGRAM_FAILURE);
        finish(program, notify, built)
    }

    fn clCompileProgram(
        program: *mut c_void,
        num_devices: u32,
        device_list: In<cl_device_id>,
        options: Text,
        num_headers: u32,
        headers: In<cl_program>,
        header_names: Out<*const c_char>,
        function: BuildNotify,
        user_data: *mut c_void,
    ) {
        let program = handle::get::<Program>(program)?;
        let notify = notify(function, user_data)?;
        program.context.devices_of(&list(num_devices, device_list)?)?;
        if (num_headers == 0) != headers.is_null() || headers.is_null() != header_names.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        // Headers hold no kernels; that they are programs is all that can be checked.
        handle::get_all::<Program>(&headers.list(num_headers as usize).unwrap_or_default())?;
        unattached(&program)?;
        if !matches!(program.origin, Origin::Source | Origin::Il) {
            return Err(CL_INVALID_OPERATION);
        }
        let options = options.get().unwrap_or_default();
        let kind = CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT;
        let built = program.compile(&options, kind, CL_COMPILE_PROGRAM_FAILURE);
        finish(program, notify, built)
    }

    fn clUnloadCompiler() {
        Ok(())
    }

    fn clUnloadPlatformCompiler(platform: *mut c_void) {
        handle::get::<Platform>(platform).map(drop)
    }
}

creators! {
    fn clLinkProgram(
        context: *mut c_void,
        num_devices: u32,
        device_list: In<cl_device_id>,
        options: Text,
        num_programs: u32,
        programs: In<cl_program>,
        function: BuildNotify,
        user_data: *mut c_void,
    ) {
        let context = handle::get::<Context>(context)?;
        let notify = notify(function, user_data)?;
        let devices = context.devices_of(&list(num_devices, device_list)?)?;
        let parts = programs.list(num_programs as usize).filter(|parts| !parts.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let parts = handle::get_all::<Program>(&parts)?;
        parts.iter().try_for_each(|part| context.same(&part.context, "a program to link"))?;
        if !parts.iter().all(|part| part.is_linkable()) {
            return Err(CL_INVALID_OPERATION);
        }
        let options = options.get().unwrap_or_default();
        let library = options.split_whitespace().any(|option| option == "-create-library");
        let has_arg_info = parts.iter().any(|part| part.build().has_arg_info);
        if options::in_force().link_refuses_arg_info && has_arg_info && !library {
            return Err(CL_LINK_PROGRAM_FAILURE);
        }
        let kind = if library { CL_PROGRAM_BINARY_TYPE_LIBRARY } else { CL_PROGRAM_BINARY_TYPE_EXECUTABLE };
        let program = Program::link(&context, devices, &parts);
        let built = program.compile(&options, kind, CL_LINK_PROGRAM_FAILURE);
        let linked = program.handle();
        finish(program, notify, built).inspect_err(|_| {
            // The caller gets no handle, so it cannot release what was made for it.
            let _ = handle::release::<Program>(linked);
        })?;
        Ok(linked)
    }

    fn clCreateProgramWithBuiltInKernels(
        context: *mut c_void,
        num_devices: u32,
        device_list: In<cl_device_id>,
        names: Text,
    ) {
        let context = handle::get::<Context>(context)?;
        let list = list(num_devices, device_list)?;
        let devices = context.devices_of(&list)?;
        let names = names.get().filter(|_| !list.is_empty()).ok_or(CL_INVALID_VALUE)?;
        let heads = names.split(';').map(known::built_in).collect::<Option<Vec<_>>>().ok_or(CL_INVALID_VALUE)?;
        let program = Program::new(context, devices, heads.join("\n"), Origin::BuiltIn);
        program.compile("", CL_PROGRAM_BINARY_TYPE_EXECUTABLE, CL_BUILD_PROGRAM_FAILURE)?;
        Ok(program.handle())
    }
}
