//! Images: making and asking.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{
    CL_IMAGE_ARRAY_SIZE, CL_IMAGE_BUFFER, CL_IMAGE_DEPTH, CL_IMAGE_ELEMENT_SIZE, CL_IMAGE_FORMAT,
    CL_IMAGE_HEIGHT, CL_IMAGE_NUM_MIP_LEVELS, CL_IMAGE_NUM_SAMPLES, CL_IMAGE_ROW_PITCH,
    CL_IMAGE_SLICE_PITCH, CL_IMAGE_WIDTH, CL_INVALID_IMAGE_DESCRIPTOR,
    CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, CL_INVALID_PROPERTY, CL_INVALID_VALUE,
    CL_MEM_COPY_HOST_PTR, CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_MEM_OBJECT_IMAGE2D,
    CL_MEM_OBJECT_IMAGE3D, CL_MEM_USE_HOST_PTR, cl_image_desc, cl_image_format,
};

use crate::call::{creators, entry_points};
use crate::core::context::Context;
use crate::core::geometry::{self, Pitched, Side};
use crate::core::image::{self, Format, Shape};
use crate::core::mem::Mem;
use crate::ffi::{CLResult, HostOut, In, Out};
use crate::handle;
use crate::info::Answer;
use crate::memory::Memory;

fn create(
    context: *mut c_void,
    flags: u64,
    format: In<cl_image_format>,
    desc: CLResult<cl_image_desc>,
    host: HostOut,
    properties: Vec<u64>,
) -> CLResult<*mut c_void> {
    let context = handle::get::<Context>(context)?;
    let format = Format::new(
        format
            .one()
            .map_err(|_| CL_INVALID_IMAGE_FORMAT_DESCRIPTOR)?,
    )?;
    let desc = desc?;
    let mut shape = Shape::new(format, &desc)?;
    if desc.num_mip_levels != 0 || desc.num_samples != 0 {
        return Err(CL_INVALID_IMAGE_DESCRIPTOR);
    }
    if !desc.buffer.is_null() {
        if !matches!(
            shape.kind,
            CL_MEM_OBJECT_IMAGE1D_BUFFER | CL_MEM_OBJECT_IMAGE2D
        ) {
            return Err(CL_INVALID_IMAGE_DESCRIPTOR);
        }
        let buffer = handle::get::<Mem>(desc.buffer).map_err(|_| CL_INVALID_IMAGE_DESCRIPTOR)?;
        context.same(&buffer.context, "the buffer")?;
        return Mem::image_of_buffer(buffer, flags, shape);
    }
    if shape.kind == CL_MEM_OBJECT_IMAGE1D_BUFFER || host.is_null() && desc.image_row_pitch != 0 {
        return Err(CL_INVALID_IMAGE_DESCRIPTOR);
    }
    if flags & CL_MEM_COPY_HOST_PTR == 0 || flags & CL_MEM_USE_HOST_PTR != 0 || host.is_null() {
        return Mem::image(context, flags, shape, host, properties);
    }
    // The program's pitches are its own; the device's are tight.
    let program = Memory::of_program(host, shape.size());
    let source = shape;
    shape = Shape::new(
        format,
        &cl_image_desc {
            image_row_pitch: 0,
            image_slice_pitch: 0,
            ..desc
        },
    )?;
    let tight = Memory::staging(shape.size())?;
    copy_all(&tight, &shape, &program, &source)?;
    let made = Mem::image(
        context,
        flags & !CL_MEM_COPY_HOST_PTR,
        shape,
        HostOut::null(),
        properties,
    )?;
    let mem: Arc<Mem> = handle::get(made)?;
    mem.memory.copy_from(0, &tight, 0, shape.size())?;
    Ok(made)
}

fn copy_all(to: &Memory, target: &Shape, from: &Memory, source: &Shape) -> CLResult<()> {
    let place = |shape: &Shape| shape.region([0; 3], shape.counts());
    let (to_place, extent): (Pitched, _) = place(target)?;
    let (from_place, _) = place(source)?;
    geometry::copy(
        Side {
            memory: to,
            base: 0,
            pitched: to_place,
        },
        Side {
            memory: from,
            base: 0,
            pitched: from_place,
        },
        extent,
    )
}

fn plain_desc(kind: u32, size: [usize; 3], row_pitch: usize, slice_pitch: usize) -> cl_image_desc {
    cl_image_desc {
        image_type: kind,
        image_width: size[0],
        image_height: size[1],
        image_depth: size[2],
        image_array_size: 0,
        image_row_pitch: row_pitch,
        image_slice_pitch: slice_pitch,
        num_mip_levels: 0,
        num_samples: 0,
        buffer: std::ptr::null_mut(),
    }
}

creators! {
    fn clCreateImage(
        context: *mut c_void,
        flags: u64,
        format: In<cl_image_format>,
        desc: In<cl_image_desc>,
        host: HostOut,
    ) {
        let desc = desc.one().map_err(|_| CL_INVALID_IMAGE_DESCRIPTOR);
        create(context, flags, format, desc, host, Vec::new())
    }

    fn clCreateImageWithProperties(
        context: *mut c_void,
        properties: In<u64>,
        flags: u64,
        format: In<cl_image_format>,
        desc: In<cl_image_desc>,
        host: HostOut,
    ) {
        let properties = properties.until_zero(2);
        if properties.len() > 1 {
            return Err(CL_INVALID_PROPERTY);
        }
        let desc = desc.one().map_err(|_| CL_INVALID_IMAGE_DESCRIPTOR);
        create(context, flags, format, desc, host, properties)
    }

    fn clCreateImage2D(
        context: *mut c_void,
        flags: u64,
        format: In<cl_image_format>,
        width: usize,
        height: usize,
        row_pitch: usize,
        host: HostOut,
    ) {
        let desc = plain_desc(CL_MEM_OBJECT_IMAGE2D, [width, height, 1], row_pitch, 0);
        create(context, flags, format, Ok(desc), host, Vec::new())
    }

    fn clCreateImage3D(
        context: *mut c_void,
        flags: u64,
        format: In<cl_image_format>,
        width: usize,
        height: usize,
        depth: usize,
        row_pitch: usize,
        slice_pitch: usize,
        host: HostOut,
    ) {
        let desc = plain_desc(CL_MEM_OBJECT_IMAGE3D, [width, height, depth], row_pitch, slice_pitch);
        create(context, flags, format, Ok(desc), host, Vec::new())
    }
}

entry_points! {
    fn clGetSupportedImageFormats(
        context: *mut c_void,
        flags: u64,
        image_type: u32,
        num_entries: u32,
        formats: Out<cl_image_format>,
        num_formats: Out<u32>,
    ) {
        handle::get::<Context>(context)?;
        let _ = (flags, image_type);
        if num_entries == 0 && !formats.is_null() {
            return Err(CL_INVALID_VALUE);
        }
        let all = image::formats();
        formats.set_list(&all[..all.len().min(num_entries as usize)]);
        num_formats.set(all.len() as u32);
        Ok(())
    }

    fn clGetImageInfo(image: *mut c_void, name: u32, size: usize, value: HostOut, size_ret: Out<usize>) {
        let image = handle::get::<Mem>(image)?;
        let shape = image.shape()?;
        let answer = Answer::new(size, value, size_ret);
        let has_slices = shape.depth > 0 || shape.layers > 0;
        match name {
            CL_IMAGE_FORMAT => answer.list(&[shape.format.order, shape.format.data]),
            CL_IMAGE_ELEMENT_SIZE => answer.value(shape.format.element()),
            CL_IMAGE_ROW_PITCH => answer.value(shape.row_pitch),
            CL_IMAGE_SLICE_PITCH => answer.value(if has_slices { shape.slice_pitch } else { 0 }),
            CL_IMAGE_WIDTH => answer.value(shape.width),
            CL_IMAGE_HEIGHT => answer.value(shape.height),
            CL_IMAGE_DEPTH => answer.value(shape.depth),
            CL_IMAGE_ARRAY_SIZE => answer.value(shape.layers),
            CL_IMAGE_BUFFER => {
                answer.value(image.parent.as_ref().map_or(std::ptr::null_mut(), |buffer| buffer.slot.handle()))
            }
            CL_IMAGE_NUM_MIP_LEVELS | CL_IMAGE_NUM_SAMPLES => answer.value(0_u32),
            _ => Err(CL_INVALID_VALUE),
        }
    }
}
