//! The objects of a random program.

use std::ptr::null_mut;

use crate::common::*;

/// Pixels of an image are four bytes.
pub const SIDE: usize = 64;
pub const PIXELS: usize = SIDE * SIDE;
/// Bytes of the smallest object, which every command works on.
pub const COMMON: usize = 4 * PIXELS;
pub const LARGE: usize = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Buffer,
    /// Too small to be compared.
    Small,
    ReadOnly,
    SmallReadOnly,
    WriteOnly,
    /// Over memory of the program's.
    UseHost,
    AllocHost,
    /// The middle of a buffer.
    Sub,
    Image,
    ReadOnlyImage,
    /// An image over the contents of a buffer.
    ImageOfBuffer,
}

pub const KINDS: [Kind; 11] = [
    Kind::Buffer,
    Kind::Small,
    Kind::ReadOnly,
    Kind::SmallReadOnly,
    Kind::WriteOnly,
    Kind::UseHost,
    Kind::AllocHost,
    Kind::Sub,
    Kind::Image,
    Kind::ReadOnlyImage,
    Kind::ImageOfBuffer,
];

pub struct Object {
    pub kind: Kind,
    pub mem: Handle,
    /// What it was made from.
    pub parent: Option<Handle>,
    _host: Vec<u8>,
}

impl Object {
    pub fn new(gpu: &Gpu, kind: Kind) -> Object {
        let mut host = Vec::new();
        let mut parent = None;
        let mem = match kind {
            Kind::Buffer => gpu.buffer(CL_MEM_READ_WRITE, LARGE),
            Kind::Small => gpu.buffer(CL_MEM_READ_WRITE, COMMON),
            Kind::ReadOnly => gpu.buffer(CL_MEM_READ_ONLY, LARGE),
            Kind::SmallReadOnly => gpu.buffer(CL_MEM_READ_ONLY, COMMON),
            Kind::WriteOnly => gpu.buffer(CL_MEM_WRITE_ONLY, LARGE),
            Kind::AllocHost => gpu.buffer(CL_MEM_ALLOC_HOST_PTR, LARGE),
            Kind::UseHost => {
                host = vec![0; LARGE];
                let memory = host.as_mut_ptr().cast();
                make!(clCreateBuffer(
                    gpu.context,
                    CL_MEM_USE_HOST_PTR,
                    LARGE,
                    memory
                ))
            }
            Kind::Sub => {
                let whole = *parent.insert(gpu.buffer(CL_MEM_READ_WRITE, LARGE));
                let region = cl_buffer_region {
                    origin: LARGE / 4,
                    size: COMMON,
                };
                let info = (&raw const region).cast();
                make!(clCreateSubBuffer(
                    whole,
                    0,
                    CL_BUFFER_CREATE_TYPE_REGION,
                    info
                ))
            }
            Kind::Image => image(gpu, CL_MEM_READ_WRITE, null_mut()),
            Kind::ReadOnlyImage => image(gpu, CL_MEM_READ_ONLY, null_mut()),
            Kind::ImageOfBuffer => {
                let whole = *parent.insert(gpu.buffer(CL_MEM_READ_WRITE, LARGE));
                image(gpu, CL_MEM_READ_WRITE, whole)
            }
        };
        Object {
            kind,
            mem,
            parent,
            _host: host,
        }
    }

    pub fn is_image(&self) -> bool {
        matches!(
            self.kind,
            Kind::Image | Kind::ReadOnlyImage | Kind::ImageOfBuffer
        )
    }

    /// Kernels may not write it.
    pub fn is_read_only(&self) -> bool {
        matches!(
            self.kind,
            Kind::ReadOnly | Kind::SmallReadOnly | Kind::ReadOnlyImage
        )
    }
}

/// Of its own, or as wide as the first bytes of `buffer`.
pub fn image(gpu: &Gpu, flags: u64, buffer: Handle) -> Handle {
    let format = cl_image_format {
        image_channel_order: CL_RGBA,
        image_channel_data_type: CL_UNSIGNED_INT8,
    };
    // SAFETY: plain data, for which zeros are what the specification asks of unused members.
    let mut desc: cl_image_desc = unsafe { std::mem::zeroed() };
    desc.image_type = if buffer.is_null() {
        CL_MEM_OBJECT_IMAGE2D
    } else {
        CL_MEM_OBJECT_IMAGE1D_BUFFER
    };
    desc.image_width = if buffer.is_null() { SIDE } else { PIXELS };
    desc.image_height = if buffer.is_null() { SIDE } else { 0 };
    desc.buffer = buffer;
    make!(clCreateImage(
        gpu.context,
        flags,
        &raw const format,
        &raw const desc,
        null_mut()
    ))
}

pub fn release(object: Object) {
    ok!(clReleaseMemObject(object.mem));
    if let Some(parent) = object.parent {
        ok!(clReleaseMemObject(parent));
    }
}
