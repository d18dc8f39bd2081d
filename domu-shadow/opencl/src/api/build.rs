//! Building, compiling and linking programs.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_INVALID_DEVICE, CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY, cl_context, cl_device_id,
    cl_platform_id, cl_program,
};

use super::context::devices_of;
use super::entry::{code, entry};
use crate::CLResult;
use crate::core::program::compiler;
use crate::core::program::link::link;
use crate::core::program::{Origin, Step};
use crate::core::{Caller, Context, Device, Kernel, Program, handle};
use crate::driver::dispatch::status;
use runtime::callbacks;

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
    if let Some(call) = notify.filter(|_| compiler::has_ended(answer)) {
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
        let answer = shadow.build(devices, Step::Build { options: caller.text(options) }, notify.is_some(), Kernel::any_of);
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
        let answer = shadow.build(devices, Step::Compile { options: caller.text(options), headers }, notify.is_some(), Kernel::any_of);
        finish(program, answer, notify, user)
    }

    /// A program that failed to link is there with its log.
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
    ) -> object_and_code {
        let context = handle::share::<Context>(context)?;
        check_notify(notify, user)?;
        let devices = build_devices(caller, &context.devices, count, devices)?;
        if input_count == 0 || inputs.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let inputs = caller.list(inputs, input_count as usize).iter();
        let inputs = inputs.map(|&input| handle::share::<Program>(input)).collect::<CLResult<Vec<_>>>()?;
        let step = Step::Link { options: caller.text(options), inputs };
        let (real, made) = link(&context, &devices, &step, true, notify.is_some());
        if real.is_null() {
            return Err(made.answer.err().unwrap_or(CL_OUT_OF_HOST_MEMORY));
        }
        let devices = if devices.is_empty() { context.devices.clone() } else { devices };
        let program = Program::of(context, devices, Origin::Linked, real);
        program.linked(step, &made);
        let handle = handle::publish(program);
        Ok((handle, code(finish(handle, made.answer, notify, user))))
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
}
