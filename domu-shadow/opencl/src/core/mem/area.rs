//! Which part of a memory object: bytes of a buffer, or a box of an image's pixels.

/// A box of pixels: x, y or layer of a 1D array, z or layer of a 2D array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub origin: [usize; 3],
    pub region: [usize; 3],
}

impl Area {
    pub fn overlaps(&self, other: &Area) -> bool {
        (0..3).all(|at| {
            self.origin[at] < other.origin[at] + other.region[at]
                && other.origin[at] < self.origin[at] + self.region[at]
        })
    }

    /// Its rows, each an area of its own.
    pub fn rows(self) -> impl Iterator<Item = Area> {
        let [x, y, z] = self.origin;
        let [width, height, depth] = self.region;
        (z..z + depth).flat_map(move |z| {
            (y..y + height).map(move |y| Area {
                origin: [x, y, z],
                region: [width, 1, 1],
            })
        })
    }
}

/// A part, to be moved to or from host memory.
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
