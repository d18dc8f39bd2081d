//! Images: how they were created, where their pixels lie in host memory, and their contents as one row of bytes.
//!
//! A capture counts an image's bytes as if its rows and slices were packed one behind the other (*packed* below). Where
//! a program sees an image through a pointer, rows and slices have the steps of the *host layout*.

use std::ffi::c_void;
use std::ops::Range;

use opencl_sys::{
    CL_IMAGE_ELEMENT_SIZE, CL_INVALID_IMAGE_DESCRIPTOR, CL_MEM_OBJECT_IMAGE1D,
    CL_MEM_OBJECT_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_MEM_OBJECT_IMAGE2D,
    CL_MEM_OBJECT_IMAGE2D_ARRAY, CL_MEM_OBJECT_IMAGE3D, CL_MEM_USE_HOST_PTR, cl_image_desc,
    cl_image_format, cl_mem_flags, cl_mem_object_type,
};

use super::area::{Area, Part};
use crate::CLResult;
use crate::driver::dispatch::{ask, create, table_of};
use crate::driver::query;

/// A part of the packed bytes, in terms of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedPart {
    Whole(Area),
    /// Bytes `part` of one pixel.
    Pixel {
        area: Area,
        part: Range<usize>,
    },
}

/// Bytes from one row to the next and from one slice to the next. In a 1D array each layer is a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub row: usize,
    pub slice: usize,
}

/// `cl_image_desc` without the memory object, which is kept as the parent.
#[derive(Clone, Copy, Debug)]
struct Description {
    image_type: cl_mem_object_type,
    /// Width, height, depth.
    size: [usize; 3],
    array_size: usize,
    row_pitch: usize,
    slice_pitch: usize,
    mip_levels: u32,
    samples: u32,
}

impl Description {
    fn of(desc: &cl_image_desc) -> Description {
        Description {
            image_type: desc.image_type,
            size: [desc.image_width, desc.image_height, desc.image_depth],
            array_size: desc.image_array_size,
            row_pitch: desc.image_row_pitch,
            slice_pitch: desc.image_slice_pitch,
            mip_levels: desc.num_mip_levels,
            samples: desc.num_samples,
        }
    }

    fn with_parent(&self, parent: *mut c_void) -> cl_image_desc {
        cl_image_desc {
            image_type: self.image_type,
            image_width: self.size[0],
            image_height: self.size[1],
            image_depth: self.size[2],
            image_array_size: self.array_size,
            image_row_pitch: self.row_pitch,
            image_slice_pitch: self.slice_pitch,
            num_mip_levels: self.mip_levels,
            num_samples: self.samples,
            buffer: parent,
        }
    }
}

/// What makes a memory object an image.
pub struct Image {
    pub format: cl_image_format,
    desc: Description,
    /// Created by `clCreateImage2D` or `3D`.
    is_classic: bool,
    /// Bytes of a pixel.
    pub pixel: usize,
    /// Width, height or layers of a 1D array, depth or layers of a 2D array.
    pub extent: [usize; 3],
    pub host: Steps,
}

impl Image {
    /// As the program described it; `pixel` and the host layout are known once the driver has made it.
    ///
    /// # Errors
    /// `CL_INVALID_IMAGE_DESCRIPTOR` for an unknown type.
    pub fn new(format: cl_image_format, desc: &cl_image_desc, is_classic: bool) -> CLResult<Image> {
        let (width, height) = (desc.image_width, desc.image_height);
        let extent = match desc.image_type {
            CL_MEM_OBJECT_IMAGE1D | CL_MEM_OBJECT_IMAGE1D_BUFFER => [width, 1, 1],
            CL_MEM_OBJECT_IMAGE1D_ARRAY => [width, desc.image_array_size, 1],
            CL_MEM_OBJECT_IMAGE2D => [width, height, 1],
            CL_MEM_OBJECT_IMAGE2D_ARRAY => [width, height, desc.image_array_size],
            CL_MEM_OBJECT_IMAGE3D => [width, height, desc.image_depth],
            _ => return Err(CL_INVALID_IMAGE_DESCRIPTOR),
        };
        Ok(Image {
            format,
            desc: Description::of(desc),
            is_classic,
            pixel: 0,
            extent,
            host: Steps { row: 0, slice: 0 },
        })
    }

    /// Asks the driver's first object for what only it knows.
    ///
    /// # Errors
    /// The driver's.
    pub fn learn(&mut self, real: *mut c_void, flags: cl_mem_flags) -> CLResult<()> {
        let pixel = query::number(ask!(real, clGetImageInfo(real, CL_IMAGE_ELEMENT_SIZE)))?;
        self.pixel = usize::try_from(pixel).unwrap_or(0).max(1);
        self.host = self.packed();
        if flags & CL_MEM_USE_HOST_PTR != 0 {
            let or = |given: usize, packed: usize| if given == 0 { packed } else { given };
            let row = or(self.desc.row_pitch, self.host.row);
            self.host = if self.desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY {
                let row = or(self.desc.slice_pitch, row);
                Steps {
                    row,
                    slice: row * self.extent[1],
                }
            } else {
                Steps {
                    row,
                    slice: or(self.desc.slice_pitch, row * self.extent[1]),
                }
            };
        }
        Ok(())
    }

    /// Has mip levels or samples, which no command can read one by one.
    pub fn has_levels(&self) -> bool {
        self.desc.mip_levels > 1 || self.desc.samples > 1
    }

    /// The steps of the packed layout.
    pub fn packed(&self) -> Steps {
        let row = self.extent[0] * self.pixel;
        Steps {
            row,
            slice: row * self.extent[1],
        }
    }

    /// Bytes of the packed contents.
    pub fn size(&self) -> usize {
        self.packed().slice * self.extent[2]
    }

    /// Bytes of the host layout.
    pub fn host_size(&self) -> usize {
        self.host.slice * self.extent[2]
    }

    /// Where a pixel lies.
    pub fn offset(&self, steps: Steps, origin: [usize; 3]) -> usize {
        origin[0] * self.pixel + origin[1] * steps.row + origin[2] * steps.slice
    }

    /// An area, to be moved to or from host memory of these steps.
    pub fn part(&self, area: Area, steps: Steps) -> Part {
        let (row_pitch, slice_pitch) = match self.desc.image_type {
            CL_MEM_OBJECT_IMAGE1D | CL_MEM_OBJECT_IMAGE1D_BUFFER => (0, 0),
            // Drivers differ in which of the two steps from layer to layer.
            CL_MEM_OBJECT_IMAGE1D_ARRAY => (steps.row, steps.row),
            CL_MEM_OBJECT_IMAGE2D => (steps.row, 0),
            _ => (steps.row, steps.slice),
        };
        Part::Pixels {
            area,
            row_pitch,
            slice_pitch,
        }
    }

    /// The bytes of the host layout from an area's first to its last.
    pub fn host_range(&self, area: Area) -> Range<usize> {
        let last = std::array::from_fn(|at| area.origin[at] + area.region[at] - 1);
        self.offset(self.host, area.origin)..self.offset(self.host, last) + self.pixel
    }

    /// What `clEnqueueMapImage` returns: row pitch, and slice pitch where the type has slices.
    pub fn map_pitches(&self) -> (usize, Option<usize>) {
        match self.desc.image_type {
            CL_MEM_OBJECT_IMAGE1D | CL_MEM_OBJECT_IMAGE1D_BUFFER | CL_MEM_OBJECT_IMAGE2D => {
                (self.host.row, None)
            }
            CL_MEM_OBJECT_IMAGE1D_ARRAY => (self.host.row, Some(self.host.row)),
            _ => (self.host.row, Some(self.host.slice)),
        }
    }

    /// The packed bytes `range` as few areas as there are, each with the offset of its first byte.
    pub fn packed_parts(&self, range: Range<usize>) -> Vec<(usize, PackedPart)> {
        let [width, height, _] = self.extent;
        let area_at = |pixel: usize, region: [usize; 3]| Area {
            origin: [
                pixel % width,
                pixel / width % height,
                pixel / (width * height),
            ],
            region,
        };
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let pixel = at / self.pixel;
            let begin = pixel * self.pixel;
            let whole = (range.end - at) / self.pixel;
            if at > begin || whole == 0 {
                let part = at - begin..self.pixel.min(range.end - begin);
                let bytes = part.len();
                pieces.push((
                    at,
                    PackedPart::Pixel {
                        area: area_at(pixel, [1; 3]),
                        part,
                    },
                ));
                at += bytes;
                continue;
            }
            let [x, y, _] = area_at(pixel, [1; 3]).origin;
            let region = if x > 0 || whole < width {
                [whole.min(width - x), 1, 1]
            } else if y > 0 || whole < width * height {
                [width, (whole / width).min(height - y), 1]
            } else {
                [width, height, whole / (width * height)]
            };
            pieces.push((at, PackedPart::Whole(area_at(pixel, region))));
            at += region.iter().product::<usize>() * self.pixel;
        }
        pieces
    }

    /// Makes the driver's image. `parent` is the driver's buffer or image that it is made from, or null; `host` is the
    /// memory that the flags speak of, or null (contents come by writing then).
    ///
    /// # Errors
    /// The driver's.
    pub fn make(
        &self,
        context: *mut c_void,
        flags: cl_mem_flags,
        parent: *mut c_void,
        host: *mut c_void,
        properties: &[u64],
    ) -> CLResult<*mut c_void> {
        let mut desc = self.desc.with_parent(parent);
        if host.is_null() && parent.is_null() && self.pixel != 0 {
            // A pitch without memory is an error; the first time, that is the program's to be told.
            desc.image_row_pitch = 0;
            desc.image_slice_pitch = 0;
        }
        let table = table_of(context);
        let is_classic = table.clCreateImage.is_none()
            || self.is_classic
                && table.clCreateImage2D.is_some()
                && table.clCreateImage3D.is_some();
        let format = &raw const self.format;
        if properties.len() > 1 {
            let (list, desc) = (properties.as_ptr(), &raw const desc);
            return create!(
                context,
                clCreateImageWithProperties(context, list, flags, format, desc, host)
            );
        }
        if !is_classic {
            return create!(
                context,
                clCreateImage(context, flags, format, &raw const desc, host)
            );
        }
        let (width, height) = (desc.image_width, desc.image_height);
        match desc.image_type {
            CL_MEM_OBJECT_IMAGE3D => create!(
                context,
                clCreateImage3D(
                    context,
                    flags,
                    format,
                    width,
                    height,
                    desc.image_depth,
                    desc.image_row_pitch,
                    desc.image_slice_pitch,
                    host
                )
            ),
            CL_MEM_OBJECT_IMAGE2D => create!(
                context,
                clCreateImage2D(
                    context,
                    flags,
                    format,
                    width,
                    height,
                    desc.image_row_pitch,
                    host
                )
            ),
            _ => Err(opencl_sys::CL_INVALID_OPERATION),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(pixel: usize, extent: [usize; 3]) -> Image {
        Image {
            format: cl_image_format {
                image_channel_order: 0,
                image_channel_data_type: 0,
            },
            desc: Description {
                image_type: CL_MEM_OBJECT_IMAGE3D,
                size: extent,
                array_size: 0,
                row_pitch: 0,
                slice_pitch: 0,
                mip_levels: 0,
                samples: 0,
            },
            is_classic: false,
            pixel,
            extent,
            host: Steps { row: 0, slice: 0 },
        }
    }

    /// Every byte range of a small image is covered once and in order.
    #[test]
    fn packed_parts_cover_every_range() {
        let image = image(3, [4, 3, 3]);
        let steps = image.packed();
        for start in 0..image.size() {
            for end in start..=image.size() {
                let mut at = start;
                for (offset, piece) in image.packed_parts(start..end) {
                    assert_eq!(offset, at);
                    at += match piece {
                        PackedPart::Whole(area) => {
                            assert_eq!(image.offset(steps, area.origin), offset);
                            (0..3).for_each(|n| {
                                assert!(area.origin[n] + area.region[n] <= image.extent[n])
                            });
                            // Packed: no gap between its rows.
                            assert!(area.region[1..] == [1, 1] || area.region[0] == 4);
                            assert!(area.region[2] == 1 || area.region[1] == 3);
                            area.region.iter().product::<usize>() * image.pixel
                        }
                        PackedPart::Pixel { area, part } => {
                            assert_eq!(image.offset(steps, area.origin) + part.start, offset);
                            assert!(part.end <= image.pixel);
                            part.len()
                        }
                    };
                }
                assert_eq!(at, end);
            }
        }
        let whole = Area {
            origin: [0; 3],
            region: image.extent,
        };
        assert_eq!(
            image.packed_parts(0..image.size()),
            [(0, PackedPart::Whole(whole))]
        );
    }
}
