//! One part of a buffer or image to or from host memory: what maps and moves are made of.

use std::ffi::c_void;

use super::place::Place;
use crate::CLResult;
use crate::core::mem::area::Part;
use crate::driver::dispatch::status;

macro_rules! transfer {
    ($(#[$doc:meta])* $name:ident, $host:ty, $buffer:ident, $image:ident) => {
        $(#[$doc])*
        pub fn $name(place: &Place, object: *mut c_void, part: &Part, host: $host) -> CLResult<()> {
            let Place { queue, blocking, count, list, event } = *place;
            match part {
                Part::Bytes { offset, len } => status!(
                    queue,
                    $buffer(queue, object, blocking, *offset, *len, host, count, list, event)
                ),
                Part::Pixels { area, row_pitch, slice_pitch } => {
                    let (origin, region) = (area.origin.as_ptr(), area.region.as_ptr());
                    status!(
                        queue,
                        $image(
                            queue, object, blocking, origin, region, *row_pitch, *slice_pitch, host, count, list,
                            event
                        )
                    )
                }
            }
        }
    };
}

transfer! {
    /// Enqueues reading `part` of a driver's memory object to host memory.
    ///
    /// # Errors
    /// The driver's.
    read, *mut c_void, clEnqueueReadBuffer, clEnqueueReadImage
}

transfer! {
    /// Enqueues writing `part` of a driver's memory object from host memory.
    ///
    /// # Errors
    /// The driver's.
    write, *const c_void, clEnqueueWriteBuffer, clEnqueueWriteImage
}
