//! Images: formats and shapes. What they hold is a memory object's business.

use opencl_sys::{
    CL_A, CL_BGRA, CL_FLOAT, CL_HALF_FLOAT, CL_IMAGE_FORMAT_NOT_SUPPORTED,
    CL_INVALID_IMAGE_DESCRIPTOR, CL_INVALID_IMAGE_SIZE, CL_INVALID_VALUE, CL_MEM_OBJECT_IMAGE1D,
    CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_MEM_OBJECT_IMAGE2D,
    CL_MEM_OBJECT_IMAGE2D_ARRAY, CL_MEM_OBJECT_IMAGE3D, CL_R, CL_RG, CL_RGBA, CL_SIGNED_INT8,
    CL_SIGNED_INT16, CL_SIGNED_INT32, CL_UNORM_INT8, CL_UNSIGNED_INT8, CL_UNSIGNED_INT16,
    CL_UNSIGNED_INT32, cl_image_desc, cl_image_format,
};

use super::device::Device;
use super::geometry::{Extent, Pitched};
use crate::ffi::CLResult;

const ORDERS: [u32; 5] = [CL_R, CL_A, CL_RG, CL_RGBA, CL_BGRA];
const TYPES: [u32; 9] = [
    CL_UNORM_INT8,
    CL_UNSIGNED_INT8,
    CL_SIGNED_INT8,
    CL_UNSIGNED_INT16,
    CL_SIGNED_INT16,
    CL_UNSIGNED_INT32,
    CL_SIGNED_INT32,
    CL_HALF_FLOAT,
    CL_FLOAT,
];

/// What a format's channels hold, as far as filling needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub order: u32,
    pub data: u32,
}

/// Format and size of an image.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub kind: u32,
    pub format: Format,
    /// As described: 0 where the kind has no such dimension.
    pub width: usize,
    pub height: usize,
    pub depth: usize,
    pub layers: usize,
    pub row_pitch: usize,
    pub slice_pitch: usize,
}

/// All that are supported, for every kind of image.
pub fn formats() -> Vec<cl_image_format> {
    let all = ORDERS
        .iter()
        .flat_map(|&order| TYPES.iter().map(move |&data| Format { order, data }));
    all.filter(|format| format.is_supported())
        .map(|format| cl_image_format {
            image_channel_order: format.order,
            image_channel_data_type: format.data,
        })
        .collect()
}

impl Format {
    pub fn new(format: cl_image_format) -> CLResult<Self> {
        let format = Format {
            order: format.image_channel_order,
            data: format.image_channel_data_type,
        };
        if format.is_supported() {
            Ok(format)
        } else {
            Err(CL_IMAGE_FORMAT_NOT_SUPPORTED)
        }
    }

    fn is_supported(self) -> bool {
        let bgra_fits = self.order != CL_BGRA
            || matches!(self.data, CL_UNORM_INT8 | CL_UNSIGNED_INT8 | CL_SIGNED_INT8);
        ORDERS.contains(&self.order) && TYPES.contains(&self.data) && bgra_fits
    }

    fn channel_size(self) -> usize {
        match self.data {
            CL_UNORM_INT8 | CL_UNSIGNED_INT8 | CL_SIGNED_INT8 => 1,
            CL_UNSIGNED_INT16 | CL_SIGNED_INT16 | CL_HALF_FLOAT => 2,
            _ => 4,
        }
    }

    fn channels(self) -> usize {
        match self.order {
            CL_R | CL_A => 1,
            CL_RG => 2,
            _ => 4,
        }
    }

    /// Bytes a pixel.
    pub fn element(self) -> usize {
        self.channel_size() * self.channels()
    }

    /// A pixel of the colour that `clEnqueueFillImage` gives as four floats, ints or uints, 16 bytes.
    pub fn pixel(self, color: [u8; 16]) -> CLResult<Vec<u8>> {
        let words: [[u8; 4]; 4] =
            std::array::from_fn(|at| std::array::from_fn(|byte| color[at * 4 + byte]));
        let places: &[usize] = match self.order {
            CL_R => &[0],
            CL_A => &[3],
            CL_RG => &[0, 1],
            CL_BGRA => &[2, 1, 0, 3],
            _ => &[0, 1, 2, 3],
        };
        let channel = |word: [u8; 4]| match self.data {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped before"
            )]
            CL_UNORM_INT8 => Ok(vec![
                (f32::from_ne_bytes(word).clamp(0.0, 1.0) * 255.0).round() as u8,
            ]),
            CL_HALF_FLOAT => Err(CL_IMAGE_FORMAT_NOT_SUPPORTED),
            _ => Ok(word[..self.channel_size()].to_vec()),
        };
        Ok(places
            .iter()
            .map(|&place| channel(words[place]))
            .collect::<CLResult<Vec<_>>>()?
            .concat())
    }
}

impl Shape {
    /// Checks a description; pitches of 0 become tight ones.
    pub fn new(format: Format, desc: &cl_image_desc) -> CLResult<Self> {
        let has = |kinds: &[u32], size: usize| {
            if kinds.contains(&desc.image_type) {
                size
            } else {
                0
            }
        };
        let two = [
            CL_MEM_OBJECT_IMAGE2D,
            CL_MEM_OBJECT_IMAGE2D_ARRAY,
            CL_MEM_OBJECT_IMAGE3D,
        ];
        let arrays = [CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE2D_ARRAY];
        let mut shape = Shape {
            kind: desc.image_type,
            format,
            width: desc.image_width,
            height: has(&two, desc.image_height),
            depth: has(&[CL_MEM_OBJECT_IMAGE3D], desc.image_depth),
            layers: has(&arrays, desc.image_array_size),
            row_pitch: 0,
            slice_pitch: 0,
        };
        let known = [CL_MEM_OBJECT_IMAGE1D, CL_MEM_OBJECT_IMAGE1D_BUFFER];
        if !known.contains(&shape.kind)
            && !two.contains(&shape.kind)
            && !arrays.contains(&shape.kind)
        {
            return Err(CL_INVALID_IMAGE_DESCRIPTOR);
        }
        let needed = [
            shape.width,
            has(
                &two,
                shape.height.max(usize::from(!two.contains(&shape.kind))),
            )
            .max(usize::from(!two.contains(&shape.kind))),
            if shape.kind == CL_MEM_OBJECT_IMAGE3D {
                shape.depth
            } else {
                1
            },
            if arrays.contains(&shape.kind) {
                shape.layers
            } else {
                1
            },
        ];
        if needed
            .iter()
            .any(|&size| size == 0 || size > Device::MAX_IMAGE_SIDE << 4)
        {
            return Err(CL_INVALID_IMAGE_SIZE);
        }
        let tight = shape.width * format.element();
        shape.row_pitch = desc.image_row_pitch.max(tight);
        let rows = if shape.kind == CL_MEM_OBJECT_IMAGE1D_ARRAY {
            1
        } else {
            shape.height.max(1)
        };
        shape.slice_pitch = desc.image_slice_pitch.max(shape.row_pitch * rows);
        if desc.image_row_pitch != 0
            && (desc.image_row_pitch < tight
                || !desc.image_row_pitch.is_multiple_of(format.element()))
        {
            return Err(CL_INVALID_IMAGE_DESCRIPTOR);
        }
        Ok(shape)
    }

    /// Pixels by dimension, at least 1 each, as origins and regions count: an array's layers are its last dimension.
    pub fn counts(&self) -> [usize; 3] {
        match self.kind {
            CL_MEM_OBJECT_IMAGE1D_ARRAY => [self.width, self.layers, 1],
            CL_MEM_OBJECT_IMAGE2D_ARRAY => [self.width, self.height, self.layers],
            _ => [self.width, self.height.max(1), self.depth.max(1)],
        }
    }

    /// Distance of rows and slices in the sense of `counts`.
    pub fn pitches(&self) -> (usize, usize) {
        match self.kind {
            CL_MEM_OBJECT_IMAGE1D_ARRAY => (self.slice_pitch, self.slice_pitch * self.layers),
            _ => (self.row_pitch, self.slice_pitch),
        }
    }

    /// Bytes in all.
    pub fn size(&self) -> usize {
        let counts = self.counts();
        let (row, slice) = self.pitches();
        if counts[2] > 1 {
            slice * counts[2]
        } else {
            row * counts[1]
        }
    }

    /// The bytes of a region; `CL_INVALID_VALUE` if it leaves the image.
    pub fn region(&self, origin: [usize; 3], region: [usize; 3]) -> CLResult<(Pitched, Extent)> {
        let counts = self.counts();
        let fits = |at: usize| {
            region[at] > 0
                && origin[at]
                    .checked_add(region[at])
                    .is_some_and(|end| end <= counts[at])
        };
        if !(0..3).all(fits) {
            return Err(CL_INVALID_VALUE);
        }
        let element = self.format.element();
        let (row, slice) = self.pitches();
        let start = origin[2] * slice + origin[1] * row + origin[0] * element;
        Ok((
            Pitched { start, row, slice },
            [region[0] * element, region[1], region[2]],
        ))
    }

    /// The program's side of a read or write of a region.
    pub fn host(
        &self,
        region: [usize; 3],
        row: usize,
        slice: usize,
    ) -> CLResult<(Pitched, Extent)> {
        let extent = [region[0] * self.format.element(), region[1], region[2]];
        // For an array of 1D images the distance of the rows is what the specification calls the slice pitch.
        let (row, slice) = if self.kind == CL_MEM_OBJECT_IMAGE1D_ARRAY && slice != 0 {
            (slice, 0)
        } else {
            (row, slice)
        };
        Ok((Pitched::new([0; 3], extent, row, slice)?, extent))
    }
}
