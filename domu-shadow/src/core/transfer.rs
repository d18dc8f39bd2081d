//! One part of a buffer or image to or from host memory: what maps and moves are made of.

use std::ffi::c_void;

use super::CLResult;
use super::command::Place;
use super::image::Area;
use crate::driver::dispatch::status;

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of a buffer.
    Bytes { offset: usize, len: usize },
    /// Of an image, with the pitches of the host memory.
    Pixels {
        area: Area,
        row_pitch: usize,
        slice_pitch: usize,
    },
}

/// Enqueues reading `part` of a driver's memory object to `to`.
///
/// # Errors
/// The driver's.
pub fn read(place: &Place, object: *mut c_void, part: &Part, to: *mut c_void) -> CLResult<()> {
    let Place {
        queue,
        blocking,
        count,
        list,
        event,
    } = *place;
    match part {
        Part::Bytes { offset, len } => status!(
            queue,
            clEnqueueReadBuffer(
                queue, object, blocking, *offset, *len, to, count, list, event
            )
        ),
        Part::Pixels {
            area,
            row_pitch,
            slice_pitch,
        } => status!(
            queue,
            clEnqueueReadImage(
                queue,
                object,
                blocking,
                area.origin.as_ptr(),
                area.region.as_ptr(),
                *row_pitch,
                *slice_pitch,
                to,
                count,
                list,
                event
            )
        ),
    }
}

/// Enqueues writing `part` of a driver's memory object from `from`.
///
/// # Errors
/// The driver's.
pub fn write(place: &Place, object: *mut c_void, part: &Part, from: *const c_void) -> CLResult<()> {
    let Place {
        queue,
        blocking,
        count,
        list,
        event,
    } = *place;
    match part {
        Part::Bytes { offset, len } => status!(
            queue,
            clEnqueueWriteBuffer(
                queue, object, blocking, *offset, *len, from, count, list, event
            )
        ),
        Part::Pixels {
            area,
            row_pitch,
            slice_pitch,
        } => status!(
            queue,
            clEnqueueWriteImage(
                queue,
                object,
                blocking,
                area.origin.as_ptr(),
                area.region.as_ptr(),
                *row_pitch,
                *slice_pitch,
                from,
                count,
                list,
                event
            )
        ),
    }
}
