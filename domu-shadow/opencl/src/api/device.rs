//! Querying devices.

use opencl_sys::{
    CL_DEVICE_EXTENSIONS, CL_DEVICE_EXTENSIONS_WITH_VERSION, CL_DEVICE_NOT_FOUND,
    CL_DEVICE_PARENT_DEVICE, CL_DEVICE_PARTITION_BY_COUNTS, CL_DEVICE_PLATFORM,
    CL_DEVICE_REFERENCE_COUNT, CL_INVALID_OPERATION, CL_INVALID_VALUE, cl_device_id,
    cl_device_info, cl_device_partition_property, cl_device_partition_property_ext, cl_device_type,
    cl_platform_id,
};

use super::entry::entry;
use super::extension_names;
use crate::core::{Device, Object, Platform, handle, inventory, sub_devices};
use crate::driver::dispatch::{ask, status};
use crate::driver::query;

entry! {
    fn clGetDeviceIDs(
        caller,
        platform: cl_platform_id,
        device_type: cl_device_type,
        entries: u32,
        devices: *mut cl_device_id,
        count: *mut u32,
    ) -> status {
        if (entries == 0 && !devices.is_null()) || (devices.is_null() && count.is_null()) {
            return Err(CL_INVALID_VALUE);
        }
        let platform = match inventory::platforms().first().filter(|_| platform.is_null()) {
            Some(first) => std::sync::Arc::clone(first),
            None => handle::share::<Platform>(platform)?,
        };
        let real = platform.real.get();
        let mut available = 0;
        status!(real, clGetDeviceIDs(real, device_type, 0, std::ptr::null_mut(), &raw mut available))?;
        let mut reals = vec![std::ptr::null_mut(); available as usize];
        status!(real, clGetDeviceIDs(real, device_type, available, reals.as_mut_ptr(), std::ptr::null_mut()))?;
        let handles: Vec<_> = reals.into_iter().map(|real| inventory::root_device(&platform, real).slot().handle()).collect();
        if handles.is_empty() {
            return Err(CL_DEVICE_NOT_FOUND);
        }
        caller.give_some(&handles, entries, devices, count)
    }

    fn clGetDeviceInfo(caller, answer, device: cl_device_id, parameter: cl_device_info) -> info {
        let device = handle::borrow::<Device>(caller, device)?;
        let real = device.real.get();
        let ask: query::Ask<'_> = ask!(real, clGetDeviceInfo(real, parameter));
        match parameter {
            CL_DEVICE_PLATFORM => answer.handle(device.platform.slot().handle()),
            CL_DEVICE_PARENT_DEVICE => {
                answer.handle(device.parent().map_or(std::ptr::null_mut(), |parent| parent.slot().handle()))
            }
            CL_DEVICE_REFERENCE_COUNT if device.parent().is_some() => answer.uint(device.slot().references()),
            CL_DEVICE_REFERENCE_COUNT => answer.uint(1),
            CL_DEVICE_EXTENSIONS => answer.text(&extension_names::filter_names(&query::bytes(ask)?, real)),
            CL_DEVICE_EXTENSIONS_WITH_VERSION => answer.bytes(&extension_names::filter_versions(&query::bytes(ask)?)),
            _ => answer.driver(ask),
        }
    }

    /// "If device is a root-level device … the device reference count remains unchanged."
    fn clRetainDevice(caller, device: cl_device_id) -> status {
        match handle::borrow::<Device>(caller, device)?.parent() {
            Some(_) => handle::retain::<Device>(device),
            None => Ok(()),
        }
    }

    #[drains]
    fn clReleaseDevice(caller, device: cl_device_id) -> status {
        match handle::borrow::<Device>(caller, device)?.parent() {
            Some(_) => handle::release::<Device>(device),
            None => Ok(()),
        }
    }

    fn clCreateSubDevices(
        caller,
        device: cl_device_id,
        properties: *const cl_device_partition_property,
        entries: u32,
        devices: *mut cl_device_id,
        count: *mut u32,
    ) -> status {
        let parent = handle::share::<Device>(device)?;
        let real = parent.real.get();
        let mut available = 0;
        let none = std::ptr::null_mut();
        status!(real, clCreateSubDevices(real, properties, 0, none, &raw mut available))?;
        if !devices.is_null() {
            if entries < available {
                return Err(CL_INVALID_VALUE);
            }
            // Every kind of list ends with a zero, and that of counts with one more.
            let mut list = caller.until_zero(properties);
            let zeros = if list.first() == Some(&CL_DEVICE_PARTITION_BY_COUNTS) { 2 } else { 1 };
            list.extend(std::iter::repeat_n(0, zeros));
            let parts = sub_devices::create(parent, list, available)?;
            let handles: Vec<_> = parts.into_iter().map(handle::publish).collect();
            caller.give_list(devices, &handles);
        }
        caller.give(count, available);
        Ok(())
    }

    /// `cl_ext_device_fission` is not offered: OpenCL 1.2 has it all.
    fn clCreateSubDevicesEXT(
        caller,
        device: cl_device_id,
        _properties: *const cl_device_partition_property_ext,
        _entries: u32,
        _devices: *mut cl_device_id,
        _count: *mut u32,
    ) -> status {
        handle::borrow::<Device>(caller, device)?;
        Err(CL_INVALID_OPERATION)
    }

    fn clGetDeviceAndHostTimer(caller, device: cl_device_id, device_time: *mut u64, host_time: *mut u64) -> status {
        let real = handle::borrow::<Device>(caller, device)?.real.get();
        status!(real, clGetDeviceAndHostTimer(real, device_time, host_time))
    }

    fn clGetHostTimer(caller, device: cl_device_id, host_time: *mut u64) -> status {
        let real = handle::borrow::<Device>(caller, device)?.real.get();
        status!(real, clGetHostTimer(real, host_time))
    }
}

pub use clReleaseDevice as clReleaseDeviceEXT;
pub use clRetainDevice as clRetainDeviceEXT;
