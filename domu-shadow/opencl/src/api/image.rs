//! Images: creation and queries.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_DEVICE_EXTENSIONS, CL_IMAGE_BUFFER, CL_INVALID_CONTEXT, CL_INVALID_IMAGE_DESCRIPTOR,
    CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_MEM_OBJECT, CL_MEM_OBJECT_IMAGE2D,
    CL_MEM_OBJECT_IMAGE3D, cl_context, cl_image_desc, cl_image_format, cl_image_info, cl_mem,
    cl_mem_flags, cl_mem_object_type, cl_mem_properties,
};

use super::entry::entry;
use super::memory::check_flags;
use super::properties;
use crate::CLResult;
use crate::core::mem::Properties;
use crate::core::mem::image::Image;
use crate::core::{Caller, Context, Device, Mem, Object, handle};
use crate::driver::dispatch::{ask, status};
use crate::driver::query;

#[allow(clippy::too_many_arguments, reason = "those of the entry points")]
fn create(
    caller: &Caller,
    context: cl_context,
    flags: cl_mem_flags,
    format: *const cl_image_format,
    desc: cl_image_desc,
    is_classic: bool,
    host: *mut c_void,
    properties: Properties,
) -> CLResult<*mut c_void> {
    let context = handle::share::<Context>(context)?;
    let format = caller.list(format, 1).first().copied();
    let format = format.ok_or(CL_INVALID_IMAGE_FORMAT_DESCRIPTOR)?;
    check_flags(flags, host)?;
    let parent = if desc.buffer.is_null() {
        None
    } else {
        let parent = handle::share::<Mem>(desc.buffer);
        let parent = parent.map_err(|_| CL_INVALID_IMAGE_DESCRIPTOR)?;
        if !Arc::ptr_eq(&parent.context, &context) {
            return Err(CL_INVALID_CONTEXT);
        }
        Some(parent)
    };
    // Some drivers take what they do not have, and abort.
    if desc.num_samples != 0 || (desc.num_mip_levels != 0 && !has_mip_levels(&context)) {
        return Err(CL_INVALID_IMAGE_DESCRIPTOR);
    }
    let image = Image::new(format, &desc, is_classic)?;
    Ok(handle::publish(Mem::create_image(
        context, flags, image, parent, host, properties,
    )?))
}

/// Whether a device has `cl_khr_mipmap_image`; else "num_mip_levels and num_samples must be 0".
fn has_mip_levels(context: &Context) -> bool {
    let names = |device: &Arc<Device>| query::device_text(device.real.get(), CL_DEVICE_EXTENSIONS);
    let is_it = |name: &str| name == "cl_khr_mipmap_image";
    let devices = context.devices.iter();
    devices
        .filter_map(|device| names(device).ok())
        .any(|names| names.split_whitespace().any(is_it))
}

fn classic_desc(
    image_type: cl_mem_object_type,
    size: [usize; 3],
    pitch: [usize; 2],
) -> cl_image_desc {
    cl_image_desc {
        image_type,
        image_width: size[0],
        image_height: size[1],
        image_depth: size[2],
        image_array_size: 0,
        image_row_pitch: pitch[0],
        image_slice_pitch: pitch[1],
        num_mip_levels: 0,
        num_samples: 0,
        buffer: std::ptr::null_mut(),
    }
}

fn desc_of(caller: &Caller, desc: *const cl_image_desc) -> CLResult<cl_image_desc> {
    caller
        .list(desc, 1)
        .first()
        .copied()
        .ok_or(CL_INVALID_IMAGE_DESCRIPTOR)
}

entry! {
    fn clCreateImage(
        caller,
        context: cl_context,
        flags: cl_mem_flags,
        format: *const cl_image_format,
        desc: *const cl_image_desc,
        host: *mut c_void,
    ) -> object {
        handle::borrow::<Context>(caller, context)?;
        create(caller, context, flags, format, desc_of(caller, desc)?, false, host, Properties::default())
    }

    fn clCreateImageWithProperties(
        caller,
        context: cl_context,
        properties: *const cl_mem_properties,
        flags: cl_mem_flags,
        format: *const cl_image_format,
        desc: *const cl_image_desc,
        host: *mut c_void,
    ) -> object {
        handle::borrow::<Context>(caller, context)?;
        let properties = properties::of_memory(caller, properties)?;
        create(caller, context, flags, format, desc_of(caller, desc)?, false, host, properties)
    }

    fn clCreateImage2D(
        caller,
        context: cl_context,
        flags: cl_mem_flags,
        format: *const cl_image_format,
        width: usize,
        height: usize,
        row_pitch: usize,
        host: *mut c_void,
    ) -> object {
        let desc = classic_desc(CL_MEM_OBJECT_IMAGE2D, [width, height, 1], [row_pitch, 0]);
        create(caller, context, flags, format, desc, true, host, Properties::default())
    }

    fn clCreateImage3D(
        caller,
        context: cl_context,
        flags: cl_mem_flags,
        format: *const cl_image_format,
        width: usize,
        height: usize,
        depth: usize,
        row_pitch: usize,
        slice_pitch: usize,
        host: *mut c_void,
    ) -> object {
        let desc = classic_desc(CL_MEM_OBJECT_IMAGE3D, [width, height, depth], [row_pitch, slice_pitch]);
        create(caller, context, flags, format, desc, true, host, Properties::default())
    }

    fn clGetSupportedImageFormats(
        caller,
        context: cl_context,
        flags: cl_mem_flags,
        image_type: cl_mem_object_type,
        entries: u32,
        formats: *mut cl_image_format,
        count: *mut u32,
    ) -> status {
        let real = handle::borrow::<Context>(caller, context)?.real.get();
        status!(real, clGetSupportedImageFormats(real, flags, image_type, entries, formats, count))
    }

    fn clGetImageInfo(caller, answer, image: cl_mem, parameter: cl_image_info) -> info {
        let mem = handle::borrow::<Mem>(caller, image)?;
        mem.image().ok_or(CL_INVALID_MEM_OBJECT)?;
        let real = mem.real.get();
        match parameter {
            CL_IMAGE_BUFFER => {
                let buffer = mem.parent.as_ref().filter(|parent| parent.image().is_none());
                answer.handle(buffer.map_or(std::ptr::null_mut(), |buffer| buffer.slot().handle()))
            }
            _ => answer.driver(ask!(real, clGetImageInfo(real, parameter))),
        }
    }
}
