//! A memory object's contents as one row of bytes, in terms of commands.

use std::ffi::c_void;
use std::ops::Range;

use opencl_sys::{CL_FALSE, CL_TRUE, cl_event};
use runtime::mover::MoveError;

use super::error::driver;
use crate::core::command::Place;
use crate::core::command::transfer;
use crate::core::mem::Mem;
use crate::core::mem::area::Part;
use crate::core::mem::image::PackedPart;
use crate::driver::dispatch::status;

/// What one command moves, or a part of a pixel, which none can.
pub(super) enum Step {
    Whole(Part),
    Pixel { pixel: Part, bytes: Range<usize> },
}

/// The bytes `range`, each piece with the offset of its first byte.
pub(super) fn pieces(mem: &Mem, range: Range<usize>) -> Vec<(usize, Step)> {
    let Some(image) = mem.image() else {
        let (offset, len) = (range.start, range.len());
        let all = (offset, Step::Whole(Part::Bytes { offset, len }));
        return Vec::from_iter((len > 0).then_some(all));
    };
    let steps = image.packed();
    let translate = |(at, piece)| match piece {
        PackedPart::Whole(area) => (at, Step::Whole(image.part(area, steps))),
        PackedPart::Pixel { area, part } => {
            let pixel = image.part(area, steps);
            (at, Step::Pixel { pixel, bytes: part })
        }
    };
    image
        .packed_parts(range)
        .into_iter()
        .map(translate)
        .collect()
}

/// What of `part`, whose first byte is at `at`, may be overwritten: not what the program is writing through a map of
/// memory that the driver uses as well.
pub(super) fn free_parts(mem: &Mem, at: usize, part: Part) -> Vec<(usize, Part)> {
    if !mem.has_host_storage() {
        return vec![(at, part)];
    }
    match (mem.image(), part) {
        (Some(image), Part::Pixels { area, .. }) => {
            let steps = image.packed();
            let free = mem.maps().unwritten_area(area).into_iter();
            free.map(|area| (image.offset(steps, area.origin), image.part(area, steps)))
                .collect()
        }
        (_, Part::Bytes { offset, len }) => {
            let free = mem.maps().unwritten(offset..offset + len).into_iter();
            free.map(|part| (part.start, part.start, part.len()))
                .map(|(at, offset, len)| (at, Part::Bytes { offset, len }))
                .collect()
        }
        (None, Part::Pixels { .. }) => Vec::new(),
    }
}

/// One memory object on a queue of our own, which runs in order.
pub(super) struct Beside<'a> {
    queue: *mut c_void,
    mem: &'a Mem,
}

impl<'a> Beside<'a> {
    pub(super) fn new(queue: *mut c_void, mem: &'a Mem) -> Self {
        Beside { queue, mem }
    }

    /// The event of a read to `to`, which must stay valid until it has ended.
    pub(super) fn start_read(&self, part: &Part, to: *mut u8) -> Result<cl_event, MoveError> {
        let mut event = std::ptr::null_mut();
        let real = self.mem.real.get();
        let place = Place::alone(self.queue, CL_FALSE, &raw mut event);
        transfer::read(&place, real, part, to.cast()).map_err(driver("reading a memory object"))?;
        Ok(event)
    }

    /// The event of a write from `from`, which must stay valid until it has ended.
    pub(super) fn start_write(&self, part: &Part, from: *const u8) -> Result<cl_event, MoveError> {
        let mut event = std::ptr::null_mut();
        let real = self.mem.real.get();
        let place = Place::alone(self.queue, CL_FALSE, &raw mut event);
        transfer::write(&place, real, part, from.cast())
            .map_err(driver("writing a memory object"))?;
        Ok(event)
    }

    /// The event of a fill of a buffer's bytes with zeros.
    pub(super) fn start_zero(&self, offset: usize, len: usize) -> Result<cl_event, MoveError> {
        // The widest pattern that offset and length are multiples of.
        let width = 1_usize << (offset | len | 16).trailing_zeros();
        let (pattern, real) = ([0_u8; 16], self.mem.real.get());
        let mut event = std::ptr::null_mut();
        status!(
            self.queue,
            clEnqueueFillBuffer(
                self.queue,
                real,
                pattern.as_ptr().cast(),
                width,
                offset,
                len,
                0,
                std::ptr::null(),
                &raw mut event
            )
        )
        .map_err(driver("filling a memory object"))?;
        Ok(event)
    }

    /// One pixel's bytes, behind all transfers started before.
    pub(super) fn read_pixel(&self, pixel: &Part) -> Result<Vec<u8>, MoveError> {
        let mut content = vec![0; self.mem.image().map_or(0, |image| image.pixel)];
        let to = content.as_mut_ptr().cast();
        let place = Place::alone(self.queue, CL_TRUE, std::ptr::null_mut());
        transfer::read(&place, self.mem.real.get(), pixel, to)
            .map_err(driver("reading a pixel"))?;
        Ok(content)
    }

    pub(super) fn write_pixel(&self, pixel: &Part, content: &[u8]) -> Result<(), MoveError> {
        let from = content.as_ptr().cast();
        let place = Place::alone(self.queue, CL_TRUE, std::ptr::null_mut());
        transfer::write(&place, self.mem.real.get(), pixel, from).map_err(driver("writing a pixel"))
    }

    pub(super) fn flush(&self) -> Result<(), MoveError> {
        status!(self.queue, clFlush(self.queue)).map_err(driver("clFlush"))
    }
}
