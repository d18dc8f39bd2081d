//! Rectangles: the arithmetic that rect copies and images share.

use opencl_sys::{CL_INVALID_VALUE, CL_OUT_OF_RESOURCES};

use crate::ffi::CLResult;
use crate::memory::Memory;

/// A box of bytes inside a range: its first byte, and the distance of rows and slices, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pitched {
    pub start: usize,
    pub row: usize,
    pub slice: usize,
}

/// Bytes a row, rows, slices.
pub type Extent = [usize; 3];

impl Pitched {
    /// With the defaults of the specification for pitches of 0, and its errors for such as are too small.
    pub fn new(origin: [usize; 3], extent: Extent, row: usize, slice: usize) -> CLResult<Self> {
        if extent.contains(&0) {
            return Err(CL_INVALID_VALUE);
        }
        let row = if row == 0 { extent[0] } else { row };
        let least = row.checked_mul(extent[1]).ok_or(CL_INVALID_VALUE)?;
        let slice = if slice == 0 { least } else { slice };
        if row < extent[0] || slice < least || slice % row != 0 {
            return Err(CL_INVALID_VALUE);
        }
        let start = origin[2] * slice + origin[1] * row + origin[0];
        Ok(Pitched { start, row, slice })
    }

    /// The byte behind the last one of the box.
    pub fn end(&self, extent: Extent) -> usize {
        self.start + (extent[2] - 1) * self.slice + (extent[1] - 1) * self.row + extent[0]
    }

    /// The starts of all rows, in order.
    pub fn rows(self, extent: Extent) -> impl Iterator<Item = usize> {
        (0..extent[2]).flat_map(move |slice| {
            (0..extent[1]).map(move |row| self.start + slice * self.slice + row * self.row)
        })
    }
}

/// A box in one range of memory; `base` is where the pitched range starts in it.
pub struct Side<'a> {
    pub memory: &'a Memory,
    pub base: usize,
    pub pitched: Pitched,
}

/// Copies a box of the same extent from one range to another.
pub fn copy(to: Side<'_>, from: Side<'_>, extent: Extent) -> CLResult<()> {
    let rows = to.pitched.rows(extent).zip(from.pitched.rows(extent));
    rows.into_iter().try_for_each(|(target, source)| {
        to.memory
            .copy_from(to.base + target, from.memory, from.base + source, extent[0])
    })
}

/// Whether a box ends within `size` bytes.
pub fn check_end(pitched: Pitched, extent: Extent, size: usize) -> CLResult<()> {
    if pitched.end(extent) <= size {
        Ok(())
    } else {
        Err(CL_INVALID_VALUE)
    }
}

/// Repeats an element over a box.
pub fn fill(to: Side<'_>, element: &[u8], extent: Extent) -> CLResult<()> {
    if element.is_empty() {
        return Err(CL_OUT_OF_RESOURCES);
    }
    to.pitched
        .rows(extent)
        .try_for_each(|row| to.memory.fill(to.base + row, element, extent[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitches_of_zero_are_tight() {
        let tight = Pitched::new([1, 2, 3], [4, 5, 6], 0, 0).unwrap();
        assert_eq!(
            tight,
            Pitched {
                start: 3 * 20 + 2 * 4 + 1,
                row: 4,
                slice: 20
            }
        );
        assert_eq!(tight.end([4, 5, 6]), tight.start + 5 * 20 + 4 * 4 + 4);
    }

    #[test]
    fn refuses_pitches_that_overlap() {
        assert_eq!(Pitched::new([0; 3], [4, 2, 1], 3, 0), Err(CL_INVALID_VALUE));
        assert_eq!(Pitched::new([0; 3], [4, 2, 2], 4, 6), Err(CL_INVALID_VALUE));
        assert_eq!(Pitched::new([0; 3], [0, 2, 2], 4, 8), Err(CL_INVALID_VALUE));
    }

    #[test]
    fn visits_rows_in_order() {
        let pitched = Pitched::new([2, 1, 0], [3, 2, 2], 10, 40).unwrap();
        assert_eq!(
            pitched.rows([3, 2, 2]).collect::<Vec<_>>(),
            [12, 22, 52, 62]
        );
    }
}
