//! Mapped regions of buffers and images.
//!
//! A mapped pointer is always the program's or the shadow's own memory: mapping reads the region into it, unmapping
//! writes it back. So it stays valid, with its bytes, whatever happens to the driver.

use std::ops::Range;

use opencl_sys::{CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION};

use super::area::Area;

/// One `clEnqueueMapBuffer` or `clEnqueueMapImage` that is not unmapped yet.
#[derive(Clone, Debug)]
pub struct Map {
    /// The object it was called on (buffer, sub-buffer or image), by its id.
    pub object: u64,
    /// Bytes of the root buffer, or of the image's host layout.
    pub range: Range<usize>,
    /// The pixels, of an image.
    pub area: Option<Area>,
    /// `CL_MAP_*` bits.
    pub flags: u64,
}

impl Map {
    /// Whether the program may write through it.
    pub fn writes(&self) -> bool {
        self.flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION) != 0
    }

    pub fn overlaps(&self, range: &Range<usize>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }
}

/// All maps of one root buffer or image.
#[derive(Debug, Default)]
pub struct Maps(Vec<Map>);

impl Maps {
    pub fn add(&mut self, map: Map) {
        self.0.push(map);
    }

    /// Ends the newest map of `object` that starts at `start`.
    pub fn remove(&mut self, object: u64, start: usize) -> Option<Map> {
        let at = self
            .0
            .iter()
            .rposition(|map| map.object == object && map.range.start == start)?;
        Some(self.0.remove(at))
    }

    /// How often `object` is mapped now.
    pub fn count(&self, object: u64) -> usize {
        self.0.iter().filter(|map| map.object == object).count()
    }

    /// The parts of `range` that no writing map covers: what may be read from the device without losing what the
    /// program has written into mapped memory.
    pub fn unwritten(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let written = self
            .0
            .iter()
            .filter(|map| map.writes() && map.overlaps(&range))
            .map(|map| map.range.clone())
            .collect();
        without(range, written)
    }

    /// The same for an area of an image: as a whole where nothing covers it, else by rows.
    pub fn unwritten_area(&self, area: Area) -> Vec<Area> {
        let writes = |map: &&Map| map.writes();
        let areas = self.0.iter().filter(writes).filter_map(|map| map.area);
        let written: Vec<Area> = areas.filter(|map| map.overlaps(&area)).collect();
        if written.is_empty() {
            return vec![area];
        }
        let x_range = |area: Area| area.origin[0]..area.origin[0] + area.region[0];
        let free_of_row = |row: Area| {
            let covered = written.iter().filter(|map| map.overlaps(&row));
            let free = without(x_range(row), covered.map(|map| x_range(*map)).collect());
            free.into_iter().map(move |part| Area {
                origin: [part.start, row.origin[1], row.origin[2]],
                region: [part.len(), 1, 1],
            })
        };
        area.rows().flat_map(free_of_row).collect()
    }
}

/// What is left of `range`.
fn without(range: Range<usize>, mut taken: Vec<Range<usize>>) -> Vec<Range<usize>> {
    taken.sort_by_key(|range| range.start);
    let mut free = Vec::new();
    let mut at = range.start;
    for part in taken {
        if part.start > at {
            free.push(at..part.start);
        }
        at = at.max(part.end);
    }
    if at < range.end {
        free.push(at..range.end);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use opencl_sys::CL_MAP_READ;

    fn map(object: u64, range: Range<usize>, flags: u64) -> Map {
        Map {
            object,
            range,
            area: None,
            flags,
        }
    }

    #[test]
    fn areas_mapped_for_writing_are_left_out() {
        let area = |origin, region| Area { origin, region };
        let mut maps = Maps::default();
        let whole = area([0; 3], [4, 3, 1]);
        assert_eq!(maps.unwritten_area(whole), [whole]);
        let mut one = map(1, 0..1, CL_MAP_WRITE);
        one.area = Some(area([1, 1, 0], [2, 2, 1]));
        maps.add(one);
        let first = area([0; 3], [4, 1, 1]);
        assert_eq!(maps.unwritten_area(first), [first]);
        assert_eq!(
            maps.unwritten_area(whole),
            [
                first,
                area([0, 1, 0], [1, 1, 1]),
                area([3, 1, 0], [1, 1, 1]),
                area([0, 2, 0], [1, 1, 1]),
                area([3, 2, 0], [1, 1, 1]),
            ]
        );
    }

    #[test]
    fn what_is_mapped_for_writing_is_not_read_again() {
        let mut maps = Maps::default();
        assert_eq!(maps.unwritten(0..10), vec![0..10]);
        maps.add(map(1, 2..4, CL_MAP_WRITE));
        maps.add(map(1, 3..6, CL_MAP_WRITE));
        maps.add(map(1, 8..9, CL_MAP_READ));
        assert_eq!(maps.unwritten(0..10), [0..2, 6..10]);
        assert_eq!(maps.unwritten(2..6), []);
        assert_eq!(maps.unwritten(5..7), vec![6..7]);
    }

    #[test]
    fn maps_end_one_by_one() {
        let mut maps = Maps::default();
        maps.add(map(1, 0..4, CL_MAP_READ));
        maps.add(map(1, 0..8, CL_MAP_WRITE));
        maps.add(map(2, 0..8, CL_MAP_READ));
        assert_eq!((maps.count(1), maps.count(2)), (2, 1));
        assert!(maps.remove(1, 0).unwrap().writes());
        assert!(!maps.remove(1, 0).unwrap().writes());
        assert!(maps.remove(1, 0).is_none());
        assert_eq!(maps.count(2), 1);
    }
}
