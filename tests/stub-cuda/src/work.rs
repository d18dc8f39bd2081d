//! What streams do: copies, sets, kernels, functions of the program, waiting for values.

use std::ffi::c_void;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::abi::*;
use crate::call;
use crate::memory::space::{self, Viewer};
use crate::memory::{addresses, backing::Backing, pool};

/// How often a value that is waited for is looked at.
const LOOK: Duration = Duration::from_micros(50);

/// A kernel with everything it needs to run.
pub trait Kernel: Send + Sync {
    /// # Errors
    /// The fault of the context that its end makes.
    fn run(&self, device: usize, stopped: &dyn Fn() -> bool) -> Outcome<()>;
    fn as_any(&self) -> &dyn std::any::Any;
}

/// An argument of the program's functions, which only they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data(pub usize);

impl Data {
    pub fn pointer(self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.0)
    }
}

/// One side of a copy.
#[derive(Clone)]
pub enum Place {
    /// What is mapped.
    Device(u64),
    /// The program's memory.
    Host(usize),
    /// A copy of the program's memory.
    Staged(Arc<Vec<u8>>),
    /// An array's memory.
    Array(Arc<Backing>),
}

#[derive(Clone)]
pub struct Side {
    pub place: Place,
    /// Of the first byte.
    pub offset: u64,
    /// Bytes from one line to the next.
    pub pitch: u64,
    /// Bytes from one plane to the next.
    pub plane: u64,
}

impl Side {
    /// A side of a copy of one line.
    pub fn line(place: Place) -> Side {
        Side {
            place,
            offset: 0,
            pitch: 0,
            plane: 0,
        }
    }
}

/// A copy of `depth` planes of `height` lines of `width` bytes.
#[derive(Clone)]
pub struct Copy {
    pub to: Side,
    pub from: Side,
    pub width: u64,
    pub height: u64,
    pub depth: u64,
}

/// A set of `height` lines of `width` elements.
#[derive(Clone)]
pub struct Fill {
    pub to: u64,
    pub pitch: u64,
    pub value: u32,
    /// Bytes: 1, 2, 4.
    pub element: u64,
    pub width: u64,
    pub height: u64,
}

#[derive(Clone)]
pub enum Work {
    Nothing,
    Copy(Copy),
    Fill(Fill),
    Kernel(Arc<dyn Kernel>),
    Host(CUhostFn, Data),
    /// With the stream that it is told.
    Callback(CUstreamCallback, Data, Handle),
    Wait {
        address: u64,
        value: u64,
        is_wide: bool,
        compare: u32,
    },
    Write {
        address: u64,
        value: u64,
        is_wide: bool,
    },
    FreePool(u64),
    All(Vec<Work>),
}

impl Work {
    /// Does it. `stopped` tells that it is no longer wanted.
    ///
    /// # Errors
    /// The fault of the context that its end makes.
    pub fn run(&self, device: usize, stopped: &dyn Fn() -> bool) -> Outcome<()> {
        match self {
            Work::Nothing => Ok(()),
            Work::Copy(copy) => copy.run(),
            Work::Fill(fill) => fill.run(),
            Work::Kernel(kernel) => kernel.run(device, stopped),
            Work::Host(function, data) => {
                if let Some(function) = function {
                    // SAFETY: the program's function, with the argument that it gave for it.
                    call::callback(|| unsafe { function(data.pointer()) });
                }
                Ok(())
            }
            Work::Callback(function, data, stream) => {
                if let Some(function) = function {
                    // SAFETY: as above.
                    call::callback(|| unsafe { function(*stream, CUDA_SUCCESS, data.pointer()) });
                }
                Ok(())
            }
            Work::Wait {
                address,
                value,
                is_wide,
                compare,
            } => loop {
                if stopped()
                    || is_reached(read_value(*address, *is_wide)?, *value, *is_wide, *compare)
                {
                    return Ok(());
                }
                thread::sleep(LOOK);
            },
            Work::Write {
                address,
                value,
                is_wide,
            } => write_value(*address, *value, *is_wide),
            Work::FreePool(address) => pool::free(*address),
            Work::All(list) => list.iter().try_for_each(|work| work.run(device, stopped)),
        }
    }

    /// Whether all device memory it names is there.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub fn check(&self) -> Outcome<()> {
        match self {
            Work::Copy(copy) => copy.check(),
            Work::Fill(fill) => (0..fill.height).try_for_each(|line| {
                let start = fill.to + line * fill.pitch;
                check_range(start, fill.width * fill.element, true)
            }),
            Work::Wait {
                address, is_wide, ..
            } => check_range(*address, if *is_wide { 8 } else { 4 }, false),
            Work::Write {
                address, is_wide, ..
            } => check_range(*address, if *is_wide { 8 } else { 4 }, true),
            Work::All(list) => list.iter().try_for_each(Work::check),
            _ => Ok(()),
        }
    }
}

fn check_range(address: u64, size: u64, writes: bool) -> Outcome<()> {
    space::pieces(address, size, Viewer::Any, writes)
        .map(drop)
        .map_err(|_| CUDA_ERROR_INVALID_VALUE)
}

fn is_reached(found: u64, wanted: u64, is_wide: bool, compare: u32) -> bool {
    match (compare & 3, is_wide) {
        (0, true) => found.wrapping_sub(wanted) as i64 >= 0,
        (0, false) => (found as u32).wrapping_sub(wanted as u32) as i32 >= 0,
        (1, _) => found == wanted,
        (2, _) => found & wanted != 0,
        (_, true) => !(found | wanted) != 0,
        (_, false) => !(found as u32 | wanted as u32) != 0,
    }
}

fn read_value(address: u64, is_wide: bool) -> Outcome<u64> {
    let size = if is_wide { 8 } else { 4 };
    let mut bytes = [0; 8];
    let mut at = 0;
    for piece in space::pieces(address, size, Viewer::Any, false)? {
        // SAFETY: the piece is memory while it lives, and lies within the eight bytes.
        unsafe { std::ptr::copy(pointer(piece.pointer), bytes[at..].as_mut_ptr(), piece.size) };
        at += piece.size;
    }
    Ok(u64::from_le_bytes(bytes))
}

fn write_value(address: u64, value: u64, is_wide: bool) -> Outcome<()> {
    let size = if is_wide { 8 } else { 4 };
    let bytes = value.to_le_bytes();
    let mut at = 0;
    for piece in space::pieces(address, size, Viewer::Any, true)? {
        // SAFETY: as in `read_value`.
        unsafe { std::ptr::copy(bytes[at..].as_ptr(), pointer(piece.pointer), piece.size) };
        at += piece.size;
    }
    Ok(())
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

/// A line's memory, in pieces.
enum Line {
    Pieces(Vec<space::Piece>),
    One(usize, usize),
}

impl Line {
    fn parts(&self) -> Vec<(usize, usize)> {
        match self {
            Line::Pieces(pieces) => pieces
                .iter()
                .map(|piece| (piece.pointer, piece.size))
                .collect(),
            Line::One(start, size) => vec![(*start, *size)],
        }
    }
}

impl Side {
    fn line_at(&self, plane: u64, line: u64, width: u64, writes: bool) -> Outcome<Line> {
        let offset = self.offset + plane * self.plane + line * self.pitch;
        let end = offset.checked_add(width).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        match &self.place {
            Place::Device(start) => {
                space::pieces(start + offset, width, Viewer::Any, writes).map(Line::Pieces)
            }
            Place::Host(start) => Ok(Line::One(start + offset as usize, width as usize)),
            Place::Staged(bytes) if end <= bytes.len() as u64 => {
                let start = bytes.as_ptr().expose_provenance();
                Ok(Line::One(start + offset as usize, width as usize))
            }
            Place::Array(backing) if end <= backing.size() => {
                Ok(Line::One(backing.base() + offset as usize, width as usize))
            }
            Place::Staged(_) | Place::Array(_) => Err(CUDA_ERROR_INVALID_VALUE),
        }
    }
}

impl Copy {
    fn lines(&self) -> impl Iterator<Item = (u64, u64)> {
        let height = self.height;
        (0..self.depth).flat_map(move |plane| (0..height).map(move |line| (plane, line)))
    }

    fn check(&self) -> Outcome<()> {
        for (plane, line) in self.lines() {
            for (side, writes) in [(&self.to, true), (&self.from, false)] {
                side.line_at(plane, line, self.width, writes)
                    .map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
            }
        }
        Ok(())
    }

    fn run(&self) -> Outcome<()> {
        for (plane, line) in self.lines() {
            let to = self.to.line_at(plane, line, self.width, true)?;
            let from = self.from.line_at(plane, line, self.width, false)?;
            copy_parts(&to.parts(), &from.parts());
        }
        Ok(())
    }

    /// With the program's memory that it reads copied now.
    pub fn staged(mut self) -> Copy {
        if let Place::Host(start) = self.from.place
            && self.depth > 0
            && self.height > 0
        {
            let size = self.from.offset
                + (self.depth - 1) * self.from.plane
                + (self.height - 1) * self.from.pitch
                + self.width;
            let mut bytes = vec![0_u8; size as usize];
            for (plane, line) in self.lines() {
                let at =
                    (self.from.offset + plane * self.from.plane + line * self.from.pitch) as usize;
                let width = self.width as usize;
                // SAFETY: the program gives this memory to be read; the line lies within `bytes`.
                unsafe {
                    std::ptr::copy(
                        pointer(start + at),
                        bytes[at..at + width].as_mut_ptr(),
                        width,
                    );
                }
            }
            self.from.place = Place::Staged(Arc::new(bytes));
        }
        self
    }
}

fn copy_parts(to: &[(usize, usize)], from: &[(usize, usize)]) {
    let (mut to, mut from) = (to.iter().copied(), from.iter().copied());
    let (mut target, mut source) = (to.next(), from.next());
    while let (Some((to_start, to_size)), Some((from_start, from_size))) = (target, source) {
        let size = to_size.min(from_size);
        // SAFETY: both are memory: of mappings that are held meanwhile, or given by the program for this copy.
        unsafe { std::ptr::copy(pointer(from_start), pointer(to_start), size) };
        target = match to_size - size {
            0 => to.next(),
            left => Some((to_start + size, left)),
        };
        source = match from_size - size {
            0 => from.next(),
            left => Some((from_start + size, left)),
        };
    }
}

impl Fill {
    fn run(&self) -> Outcome<()> {
        let value = self.value.to_le_bytes();
        let element = self.element as usize;
        for line in 0..self.height {
            let start = self.to + line * self.pitch;
            let mut at = 0;
            for piece in space::pieces(start, self.width * self.element, Viewer::Any, true)? {
                // SAFETY: the piece is memory while it lives.
                let bytes =
                    unsafe { std::slice::from_raw_parts_mut(pointer(piece.pointer), piece.size) };
                match element {
                    1 => bytes.fill(value[0]),
                    _ => {
                        for byte in bytes {
                            *byte = value[at % element];
                            at += 1;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Where a pointer of unknown kind leads.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for an address of devices with nothing behind it.
pub fn place_of(address: u64) -> Outcome<Place> {
    match space::find(address) {
        Some(_) => Ok(Place::Device(address)),
        None if addresses::is_device(address) => Err(CUDA_ERROR_INVALID_VALUE),
        None => Ok(Place::Host(address as usize)),
    }
}
