//! Contexts.

use std::ffi::{c_char, c_void};

use opencl_sys::{
    CL_CONTEXT_DEVICES, CL_CONTEXT_INTEROP_USER_SYNC, CL_CONTEXT_NUM_DEVICES, CL_CONTEXT_PLATFORM,
    CL_CONTEXT_PROPERTIES, CL_CONTEXT_REFERENCE_COUNT, CL_INVALID_PROPERTY, CL_INVALID_VALUE,
    cl_device_id,
};

use crate::call::{creators, entry_points};
use crate::callback::Notify;
use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::platform::Platform;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;

type ErrorNotify = Option<unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void)>;
type DestroyNotify = Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>;

/// "`CL_INVALID_PROPERTY` if a property name in properties is not a supported property name …"
fn check(properties: &[isize]) -> CLResult<()> {
    for pair in properties.chunks_exact(2) {
        match pair[0] {
            CL_CONTEXT_PLATFORM => {
                handle::get::<Platform>(std::ptr::with_exposed_provenance_mut(
                    pair[1].cast_unsigned(),
                ))?;
            }
            CL_CONTEXT_INTEROP_USER_SYNC => {}
            _ => return Err(CL_INVALID_PROPERTY),
        }
    }
    Ok(())
}

creators! {
    fn clCreateContext(
        properties: In<isize>,
        num_devices: u32,
        devices: In<cl_device_id>,
        notify: ErrorNotify,
        user_data: *mut c_void,
    ) {
        let properties = properties.until_zero(2);
        check(&properties)?;
        if num_devices == 0 || devices.is_null() || notify.is_none() && !user_data.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let devices = handle::get_all::<Device>(&devices.list(num_devices as usize).unwrap_or_default())?;
        Ok(Context::create(devices, properties))
    }

    fn clCreateContextFromType(
        properties: In<isize>,
        device_type: u64,
        notify: ErrorNotify,
        user_data: *mut c_void,
    ) {
        let properties = properties.until_zero(2);
        check(&properties)?;
        if notify.is_none() && !user_data.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        Ok(Context::create(super::device::of_type(device_type)?, properties))
    }
}

entry_points! {
    fn clRetainContext(context: *mut c_void) {
        handle::retain::<Context>(context)
    }

    fn clReleaseContext(context: *mut c_void) {
        handle::release::<Context>(context)
    }

    fn clGetContextInfo(context: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let context = handle::get::<Context>(context)?;
        let answer = Answer::new(size, value, size_ret);
        match name {
            CL_CONTEXT_REFERENCE_COUNT => answer.value(context.slot.references()),
            CL_CONTEXT_NUM_DEVICES => answer.value(context.devices.len() as u32),
            CL_CONTEXT_DEVICES => {
                answer.list(&context.devices.iter().map(|device| device.slot.handle()).collect::<Vec<_>>())
            }
            CL_CONTEXT_PROPERTIES => answer.list(&context.properties),
            _ => Err(CL_INVALID_VALUE),
        }
    }

    fn clSetContextDestructorCallback(context: *mut c_void, notify: DestroyNotify, user_data: *mut c_void) {
        let context = handle::get::<Context>(context)?;
        let notify = Notify::new(notify, user_data).ok_or(CL_INVALID_VALUE)?;
        context.destructors.add(notify);
        Ok(())
    }
}
