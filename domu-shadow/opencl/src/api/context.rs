//! Contexts.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use opencl_sys::{
    CL_CONTEXT_DEVICES, CL_CONTEXT_NUM_DEVICES, CL_CONTEXT_PLATFORM, CL_CONTEXT_PROPERTIES,
    CL_CONTEXT_REFERENCE_COUNT, CL_DEVICE_NOT_FOUND, CL_DEVICE_TYPE_ACCELERATOR,
    CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_CUSTOM, CL_DEVICE_TYPE_DEFAULT,
    CL_DEVICE_TYPE_GPU, CL_INVALID_DEVICE_TYPE, CL_INVALID_PLATFORM, CL_INVALID_VALUE, cl_context,
    cl_context_info, cl_context_properties, cl_device_id, cl_device_type,
};

use super::entry::entry;
use crate::CLResult;
use crate::core::context::Notify;
use crate::core::destructor_callbacks::Destructor;
use crate::core::{Caller, Context, Device, Object, Platform, handle, inventory};
use crate::driver::dispatch::{create, status};
use crate::driver::loader;
use runtime::vendor::loaded;

const KNOWN_TYPES: cl_device_type = CL_DEVICE_TYPE_DEFAULT
    | CL_DEVICE_TYPE_CPU
    | CL_DEVICE_TYPE_GPU
    | CL_DEVICE_TYPE_ACCELERATOR
    | CL_DEVICE_TYPE_CUSTOM;

type NotifyArgument =
    Option<unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void)>;

fn notify_of(notify: NotifyArgument, user: *mut c_void) -> CLResult<Option<(Notify, usize)>> {
    match notify {
        None if !user.is_null() => Err(CL_INVALID_VALUE),
        None => Ok(None),
        Some(call) => Ok(Some((call, user as usize))),
    }
}

/// The platform that a property list names; the first one if it names none.
fn platform_of(properties: Option<&Vec<cl_context_properties>>) -> CLResult<Arc<Platform>> {
    match named_platform(properties) {
        Some(handle) => handle::share::<Platform>(handle),
        None => inventory::platforms()
            .first()
            .cloned()
            .ok_or(CL_INVALID_PLATFORM),
    }
}

fn named_platform(properties: Option<&Vec<cl_context_properties>>) -> Option<*mut c_void> {
    let mut pairs = properties?.chunks_exact(2);
    let named = pairs.find(|pair| pair[0] == CL_CONTEXT_PLATFORM);
    named.map(|pair| pair[1] as *mut c_void)
}

/// Whether the driver takes a device type without a platform is up to the driver (NVIDIA's does not), and only a context
/// tells.
fn try_without_platform(
    platform: *mut c_void,
    properties: *const cl_context_properties,
    device_type: cl_device_type,
) -> CLResult<()> {
    loaded::opening(|| {
        let none = std::ptr::null_mut();
        let context = create!(
            platform,
            clCreateContextFromType(properties, device_type, None, none)
        )?;
        status!(context, clReleaseContext(context))
    })
}

/// The devices of a list that a program passed.
///
/// # Errors
/// `CL_INVALID_DEVICE`.
pub fn devices_of(
    caller: &Caller,
    count: u32,
    devices: *const cl_device_id,
) -> CLResult<Vec<Arc<Device>>> {
    caller
        .list(devices, count as usize)
        .iter()
        .map(|&device| handle::share::<Device>(device))
        .collect()
}

entry! {
    fn clCreateContext(
        caller,
        properties: *const cl_context_properties,
        count: u32,
        devices: *const cl_device_id,
        notify: NotifyArgument,
        user: *mut c_void,
    ) -> object {
        if devices.is_null() || count == 0 {
            return Err(CL_INVALID_VALUE);
        }
        let notify = notify_of(notify, user)?;
        let properties = caller.properties(properties);
        platform_of(properties.as_ref())?;
        let devices = devices_of(caller, count, devices)?;
        Ok(handle::publish(Context::create(properties, devices, notify)?))
    }

    fn clCreateContextFromType(
        caller,
        properties: *const cl_context_properties,
        device_type: cl_device_type,
        notify: NotifyArgument,
        user: *mut c_void,
    ) -> object {
        let notify = notify_of(notify, user)?;
        let given = properties;
        let properties = caller.properties(given);
        let platform = platform_of(properties.as_ref())?;
        if device_type != CL_DEVICE_TYPE_ALL && (device_type == 0 || device_type & !KNOWN_TYPES != 0) {
            return Err(CL_INVALID_DEVICE_TYPE);
        }
        let real = platform.real.get();
        let mut count = 0;
        status!(real, clGetDeviceIDs(real, device_type, 0, std::ptr::null_mut(), &raw mut count))?;
        let devices: Vec<_> =
            loader::devices(real, device_type).into_iter().map(|real| inventory::root_device(&platform, real)).collect();
        if devices.is_empty() {
            return Err(CL_DEVICE_NOT_FOUND);
        }
        if named_platform(properties.as_ref()).is_none() {
            try_without_platform(real, given, device_type)?;
        }
        Ok(handle::publish(Context::create(properties, devices, notify)?))
    }

    fn clRetainContext(_caller, context: cl_context) -> status {
        handle::retain::<Context>(context)
    }

    #[drains]
    fn clReleaseContext(_caller, context: cl_context) -> status {
        handle::release::<Context>(context)
    }

    fn clGetContextInfo(caller, answer, context: cl_context, parameter: cl_context_info) -> info {
        let context = handle::borrow::<Context>(caller, context)?;
        match parameter {
            CL_CONTEXT_REFERENCE_COUNT => answer.uint(context.slot().references()),
            CL_CONTEXT_NUM_DEVICES => answer.uint(context.devices.len() as u32),
            CL_CONTEXT_DEVICES => answer.handles(context.devices.iter().map(|device| device.slot().handle())),
            CL_CONTEXT_PROPERTIES => {
                answer.longs(context.properties.as_ref().map(|list| list.iter().map(|&value| value as u64)))
            }
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clSetContextDestructorCallback(
        caller,
        context: cl_context,
        call: Option<Destructor>,
        user: *mut c_void,
    ) -> status {
        let context = handle::borrow::<Context>(caller, context)?;
        context.destructors.add(call.ok_or(CL_INVALID_VALUE)?, user as usize);
        Ok(())
    }
}
