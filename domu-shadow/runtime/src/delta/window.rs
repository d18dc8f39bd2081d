//! Laying runs out in pieces and pieces in a staging window. No driver here.

use channel::image::payload_start;

use super::chunk::CHUNK_BYTES;
use super::plan::Run;
use super::sink::{Extent, ExtentKind, FilledPlace, Place};

/// Bytes that entries count in: extents start at multiples of it ([`payload_start`]).
const UNIT: usize = 8;
/// Pieces start at multiples of this in a window: whole memory transactions.
const PIECE_ALIGN: usize = 256;
/// Longest zero extent, in bytes.
const MAX_ZERO_BYTES: u32 = 1 << 30;

/// What gather does for one chunk; the kernels know the layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Entry {
    pub chunk: u32,
    /// Destination in the window, in units of 8 bytes.
    pub to: u32,
}

/// Entries that one launch gathers, all of one buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Launch {
    /// The buffer's place among the candidates.
    pub(super) buffer: usize,
    pub(super) first: usize,
    pub(super) end: usize,
}

/// A piece and where in the window its bytes are put together.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) place: Place,
    pub(super) at: usize,
    pub(super) used: usize,
    extents: Vec<Extent>,
}

impl Laid {
    pub(super) fn into_filled(self) -> FilledPlace {
        FilledPlace {
            token: self.place.token,
            extents: self.extents,
            payload_len: self.used,
        }
    }
}

/// What [`Layout::put`] needs to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    /// Nothing: the whole run is laid out.
    Done,
    /// Another place ([`Layout::open`]).
    NeedsPlace,
    /// Another window.
    Full,
}

/// Bounds of a window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Staging memory.
    pub bytes: usize,
    pub entries: usize,
    /// Longest data extent, in bytes; a multiple of 4096.
    pub extent_bytes: u32,
}

/// A buffer that runs are put from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Its place among the candidates.
    pub(super) index: usize,
    pub(super) id: u64,
    pub(super) size: u64,
}

/// A window being laid out.
#[derive(Debug)]
pub(super) struct Layout {
    limits: Limits,
    pub(super) entries: Vec<Entry>,
    pub(super) launches: Vec<Launch>,
    pub(super) pieces: Vec<Laid>,
}

impl Layout {
    pub(super) fn new(limits: Limits) -> Layout {
        Layout {
            limits,
            entries: Vec::new(),
            launches: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Where the next piece would start.
    fn next_at(&self) -> usize {
        self.pieces.last().map_or(0, |piece| {
            (piece.at + piece.used).next_multiple_of(PIECE_ALIGN)
        })
    }

    /// Lays the next piece out in `place`.
    pub(super) fn open(&mut self, place: Place) {
        self.pieces.push(Laid {
            place,
            at: self.next_at(),
            used: 0,
            extents: Vec::new(),
        });
    }

    /// Lays out as much of `run` as fits and takes it off `run`.
    pub(super) fn put(&mut self, from: Origin, run: &mut Run) -> Put {
        while run.count > 0 {
            let put = if run.zero {
                self.put_zero(from, run)
            } else {
                self.put_data(from, run)
            };
            if put != Put::Done {
                return put;
            }
        }
        Put::Done
    }

    fn put_zero(&mut self, from: Origin, run: &mut Run) -> Put {
        let Some(piece) = self.pieces.last_mut() else {
            return Put::NeedsPlace;
        };
        let count = run.count.min(MAX_ZERO_BYTES / CHUNK_BYTES as u32);
        let extent = extent(from, run.first, count, ExtentKind::Zero);
        if !piece.add(extent, MAX_ZERO_BYTES) {
            return Put::NeedsPlace;
        }
        take(run, count);
        Put::Done
    }

    fn put_data(&mut self, from: Origin, run: &mut Run) -> Put {
        let room_entries = self.limits.entries - self.entries.len();
        // Every chunk gets the room of a whole one, even a buffer's short last: simpler, and rare.
        let open = self.pieces.last().map(|piece| piece.next_start());
        let room_window = self
            .limits
            .bytes
            .saturating_sub(match (self.pieces.last(), open) {
                (Some(piece), Some(start)) => piece.at + start,
                _ => 0,
            });
        if room_entries == 0 || room_window < CHUNK_BYTES {
            return Put::Full;
        }
        let Some(piece) = self.pieces.last_mut() else {
            return Put::NeedsPlace;
        };
        let start = piece.next_start();
        let room = piece.place.capacity.saturating_sub(start).min(room_window);
        let fits = (room / CHUNK_BYTES)
            .min(room_entries)
            .min(self.limits.extent_bytes as usize / CHUNK_BYTES);
        let count = run.count.min(fits as u32);
        let extent = extent(from, run.first, count, ExtentKind::Data);
        if count == 0 || !piece.add(extent, self.limits.extent_bytes) {
            // Behind the last piece's end there must be room for another.
            return if self.next_at() + CHUNK_BYTES > self.limits.bytes {
                Put::Full
            } else {
                Put::NeedsPlace
            };
        }
        piece.used = start + extent.len as usize;
        let to = ((piece.at + start) / UNIT) as u32;
        let first = self.entries.len();
        self.entries.extend((0..count).map(|i| Entry {
            chunk: run.first + i,
            to: to + i * (CHUNK_BYTES / UNIT) as u32,
        }));
        let end = self.entries.len();
        match self.launches.last_mut() {
            Some(launch) if launch.buffer == from.index => launch.end = end,
            _ => self.launches.push(Launch {
                buffer: from.index,
                first,
                end,
            }),
        }
        take(run, count);
        Put::Done
    }
}

impl Laid {
    fn next_start(&self) -> usize {
        payload_start(self.used)
    }

    /// Adds an extent or makes the last one longer; `false` when there is no room in the table.
    fn add(&mut self, extent: Extent, max_bytes: u32) -> bool {
        if let Some(last) = self.extents.last_mut()
            && last.buffer == extent.buffer
            && last.kind == extent.kind
            && last.offset + u64::from(last.len) == extent.offset
            && last.len <= max_bytes - extent.len
        {
            last.len += extent.len;
            return true;
        }
        let room = self.extents.len() < self.place.max_extents;
        if room {
            self.extents.push(extent);
        }
        room
    }
}

fn extent(from: Origin, first: u32, count: u32, kind: ExtentKind) -> Extent {
    let offset = u64::from(first) * CHUNK_BYTES as u64;
    let len = (u64::from(count) * CHUNK_BYTES as u64).min(from.size - offset);
    Extent {
        buffer: from.id,
        buffer_size: from.size,
        offset,
        // At most `MAX_ZERO_BYTES` or the data limit.
        len: len as u32,
        kind,
    }
}

fn take(run: &mut Run, count: u32) {
    run.first += count;
    run.count -= count;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 10 * CHUNK_BYTES,
        entries: 9,
        extent_bytes: 4 * CHUNK_BYTES as u32,
    };

    fn place(token: u64, capacity: usize, max_extents: usize) -> Place {
        // SAFETY: nothing is ever written there: no driver takes part in these tests.
        unsafe { Place::new(token, std::ptr::dangling_mut(), capacity, max_extents) }
    }

    fn from(size: u64) -> Origin {
        Origin {
            index: 3,
            id: 77,
            size,
        }
    }

    fn data(first: u32, count: u32) -> Run {
        Run {
            first,
            count,
            zero: false,
        }
    }

    #[test]
    fn a_run_goes_on_in_the_next_place_and_the_next_window() {
        let mut layout = Layout::new(LIMITS);
        let mut run = data(5, 20);
        let from = from(1 << 20);
        assert_eq!(layout.put(from, &mut run), Put::NeedsPlace);
        layout.open(place(1, 2 * CHUNK_BYTES + 100, 9));
        assert_eq!(layout.put(from, &mut run), Put::NeedsPlace);
        assert_eq!(run, data(7, 18));
        layout.open(place(2, 100 * CHUNK_BYTES, 9));
        // Nine entries are the limit here.
        assert_eq!(layout.put(from, &mut run), Put::Full);
        assert_eq!(run, data(14, 11));
        assert_eq!(
            layout.launches,
            [Launch {
                buffer: 3,
                first: 0,
                end: 9
            }]
        );
        let to: Vec<u32> = layout.entries.iter().map(|entry| entry.to).collect();
        assert_eq!(to, (0..9).map(|i| i * 512).collect::<Vec<_>>());
        let pieces: Vec<FilledPlace> = layout.pieces.into_iter().map(Laid::into_filled).collect();
        assert_eq!(pieces[0].payload_len, 2 * CHUNK_BYTES);
        // Seven chunks, four at most in one extent.
        let lens: Vec<u32> = pieces[1].extents.iter().map(|extent| extent.len).collect();
        assert_eq!(lens, [4 * 4096, 3 * 4096]);
        assert_eq!(pieces[1].extents[1].offset, 11 * 4096);
    }

    #[test]
    fn the_window_ends_before_its_memory_does() {
        let mut layout = Layout::new(Limits {
            bytes: 3 * CHUNK_BYTES,
            ..LIMITS
        });
        layout.open(place(1, 2 * CHUNK_BYTES, 9));
        let mut run = data(0, 9);
        assert_eq!(layout.put(from(1 << 20), &mut run), Put::NeedsPlace);
        layout.open(place(2, 2 * CHUNK_BYTES, 9));
        assert_eq!(layout.put(from(1 << 20), &mut run), Put::Full);
        assert_eq!(run, data(3, 6));
    }

    #[test]
    fn short_ends_keep_the_alignment_of_what_follows() {
        let mut layout = Layout::new(LIMITS);
        layout.open(place(1, 9 * CHUNK_BYTES, 9));
        assert_eq!(layout.put(from(5), &mut data(0, 1)), Put::Done);
        let mut other = from(4096 + 13);
        (other.id, other.index) = (78, 4);
        assert_eq!(layout.put(other, &mut data(0, 2)), Put::Done);
        assert_eq!(layout.put(from(5), &mut data(0, 1)), Put::Done);
        let to: Vec<u32> = layout.entries.iter().map(|entry| 8 * entry.to).collect();
        assert_eq!(to, [0, 8, 8 + 4096, 8 + 4096 + 16]);
        assert_eq!(layout.launches.len(), 3);
        let piece = layout.pieces.pop().unwrap().into_filled();
        let lens: Vec<u32> = piece.extents.iter().map(|extent| extent.len).collect();
        assert_eq!(lens, [5, 4096 + 13, 5]);
        assert_eq!(piece.payload_len, 8 + 4096 + 16 + 5);
    }

    #[test]
    fn zeros_take_no_room_and_tables_fill_up() {
        let mut layout = Layout::new(LIMITS);
        layout.open(place(1, CHUNK_BYTES, 2));
        let size = 3 << 30;
        let mut run = Run {
            first: 0,
            count: 3 << 18,
            zero: true,
        };
        assert_eq!(layout.put(from(size), &mut run), Put::NeedsPlace);
        assert_eq!(run.count, 1 << 18);
        layout.open(place(2, CHUNK_BYTES, 2));
        assert_eq!(layout.put(from(size), &mut run), Put::Done);
        assert!(layout.entries.is_empty());
        let first = layout.pieces.swap_remove(0).into_filled();
        assert_eq!((first.payload_len, first.extents.len()), (0, 2));
        assert_eq!(first.extents[1].offset, 1 << 30);
    }
}
