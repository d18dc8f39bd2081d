//! Memory as kernels see it. Every address is checked.

use crate::abi::*;
use crate::memory::space::{self, Mapping, Viewer};

use super::types::Space;

/// Where shared, lanes' own and parameter memory stand among generic addresses.
const SHARED: u64 = 1 << 56;
const LOCAL: u64 = 2 << 56;
const PARAM: u64 = 3 << 56;
const WINDOW: u64 = 0xff << 56;

const CACHED: usize = 4;

/// What is added to an address of a space to make it generic.
pub fn window_of(parts: &[String]) -> u64 {
    match parts.iter().find_map(|part| Space::parse(part)) {
        Some(Space::Shared) => SHARED,
        Some(Space::Local) => LOCAL,
        Some(Space::Param) => PARAM,
        _ => 0,
    }
}

/// The memory of a block, and the mappings that were found last.
pub struct Memory<'a> {
    pub shared: Vec<u8>,
    /// Of all lanes, one after the other.
    pub local: Vec<u8>,
    pub local_each: usize,
    pub parameters: &'a [u8],
    cache: Cache<'a>,
}

/// Mappings that were found last; shared by the blocks of a launch.
pub struct Found {
    device: usize,
    epoch: u64,
    mappings: [Option<Mapping>; CACHED],
    last: usize,
    next: usize,
}

type Cache<'a> = &'a std::cell::RefCell<Found>;

impl Found {
    pub fn new(device: usize) -> Found {
        Found {
            device,
            epoch: 0,
            mappings: [const { None }; CACHED],
            last: 0,
            next: 0,
        }
    }

    /// Forgets all where mappings have changed.
    fn refresh(&mut self) {
        let epoch = space::epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.mappings = [const { None }; CACHED];
        }
    }

    #[inline]
    fn host(&mut self, address: u64, size: u64, writes: bool) -> Outcome<usize> {
        if let Some(place) = self.look(self.last, address, size, writes) {
            return Ok(place);
        }
        for nth in 0..CACHED {
            if let Some(place) = self.look(nth, address, size, writes) {
                self.last = nth;
                return Ok(place);
            }
        }
        let mapping = space::find(address).ok_or(CUDA_ERROR_ILLEGAL_ADDRESS)?;
        self.last = self.next;
        self.next = (self.next + 1) % CACHED;
        self.mappings[self.last] = Some(mapping);
        self.look(self.last, address, size, writes)
            .ok_or(CUDA_ERROR_ILLEGAL_ADDRESS)
    }

    #[inline]
    fn look(&self, nth: usize, address: u64, size: u64, writes: bool) -> Option<usize> {
        let mapping = self.mappings[nth].as_ref()?;
        let offset = address.wrapping_sub(mapping.start);
        let fits = offset < mapping.size && mapping.size - offset >= size;
        (fits && mapping.allows(Viewer::Device(self.device), writes)).then(|| mapping.host(address))
    }
}

impl<'a> Memory<'a> {
    pub fn new(
        (shared, local_each, lanes): (usize, usize, usize),
        parameters: &'a [u8],
        cache: Cache<'a>,
    ) -> Memory<'a> {
        Memory {
            shared: vec![0xcb; shared],
            local: vec![0xcb; local_each * lanes],
            local_each,
            parameters,
            cache,
        }
    }

    /// Before the accesses of an instruction.
    pub fn begin(&self) {
        self.cache.borrow_mut().refresh();
    }

    /// The host's address of a place that a lane names. Good for the instruction only.
    ///
    /// # Errors
    /// `CUDA_ERROR_ILLEGAL_ADDRESS`, `CUDA_ERROR_MISALIGNED_ADDRESS`.
    #[inline]
    pub fn place(
        &mut self,
        space: Space,
        address: u64,
        size: usize,
        lane: usize,
        writes: bool,
    ) -> Outcome<usize> {
        if address & (size as u64 - 1) != 0 {
            return Err(CUDA_ERROR_MISALIGNED_ADDRESS);
        }
        match space {
            Space::Global | Space::Const => {
                self.cache.borrow_mut().host(address, size as u64, writes)
            }
            Space::Generic => match address & WINDOW {
                SHARED => self.place(Space::Shared, address & !WINDOW, size, lane, writes),
                LOCAL => self.place(Space::Local, address & !WINDOW, size, lane, writes),
                PARAM => self.place(Space::Param, address & !WINDOW, size, lane, writes),
                _ => self.cache.borrow_mut().host(address, size as u64, writes),
            },
            Space::Shared => within(self.shared.as_mut_ptr(), self.shared.len(), address, size),
            Space::Local => {
                let start = self.local_each * lane;
                let own = &mut self.local[start..start + self.local_each];
                within(own.as_mut_ptr(), own.len(), address, size)
            }
            Space::Param if writes => Err(CUDA_ERROR_ILLEGAL_ADDRESS),
            Space::Param => within(
                self.parameters.as_ptr().cast_mut(),
                self.parameters.len(),
                address,
                size,
            ),
        }
    }
}

fn within(start: *mut u8, length: usize, address: u64, size: usize) -> Outcome<usize> {
    let fits = usize::try_from(address).is_ok_and(|at| at <= length && length - at >= size);
    match fits {
        true => Ok(start.wrapping_add(address as usize).expose_provenance()),
        false => Err(CUDA_ERROR_ILLEGAL_ADDRESS),
    }
}

/// Reads a value at a place that [`Memory::place`] gave.
#[inline]
pub fn read(place: usize, size: u8) -> u64 {
    let at = std::ptr::with_exposed_provenance_mut::<u8>(place);
    // SAFETY: `place` has checked that the memory is there, and its alignment. The program may race with it, as on a GPU.
    unsafe {
        match size {
            1 => at.read_volatile().into(),
            2 => at.cast::<u16>().read_unaligned().into(),
            4 => at.cast::<u32>().read_volatile_or_not(),
            _ => at.cast::<u64>().read_volatile_or_not(),
        }
    }
}

/// Writes one.
#[inline]
pub fn write(place: usize, size: u8, value: u64) {
    let at = std::ptr::with_exposed_provenance_mut::<u8>(place);
    // SAFETY: as in `read`.
    unsafe {
        match size {
            1 => at.write_volatile(value as u8),
            2 => at.cast::<u16>().write_unaligned(value as u16),
            4 => at.cast::<u32>().write_unaligned(value as u32),
            _ => at.cast::<u64>().write_unaligned(value),
        }
    }
}

/// Reads that happen: memory of small alignment (shared, parameters) is read in any way that works.
trait Reading {
    unsafe fn read_volatile_or_not(self) -> u64;
}

impl Reading for *mut u32 {
    #[inline]
    unsafe fn read_volatile_or_not(self) -> u64 {
        match self.is_aligned() {
            // SAFETY: the caller's.
            true => unsafe { self.read_volatile() }.into(),
            // SAFETY: the caller's.
            false => unsafe { self.read_unaligned() }.into(),
        }
    }
}

impl Reading for *mut u64 {
    #[inline]
    unsafe fn read_volatile_or_not(self) -> u64 {
        match self.is_aligned() {
            // SAFETY: the caller's.
            true => unsafe { self.read_volatile() },
            // SAFETY: the caller's.
            false => unsafe { self.read_unaligned() },
        }
    }
}
