//! Physical memory: what mappings lead to. It is the host's, and lives as long as something leads to it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use super::addresses::GRANULE;
use crate::abi::*;
use crate::device;
use crate::lock::lock;
use crate::options::in_force;

/// What fresh device memory holds.
const FRESH: u8 = 0xcb;

/// Where memory is, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Mapped by us, at an address of the kernel's choice.
    Ours,
    /// Mapped at device addresses, which stay reserved afterwards.
    InRange,
    /// The program's.
    Borrowed,
}

/// Memory, reachable at `base` by the driver alone (but for managed and host memory).
pub struct Backing {
    base: usize,
    size: u64,
    place: Place,
    /// Whose memory it is charged to.
    device: Option<usize>,
    file: Mutex<Option<OwnedFd>>,
}

impl Backing {
    /// Memory of a device, or of the host for `None`. `size` is rounded up to whole granules for what is charged.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub fn new(device: Option<usize>, size: u64) -> Outcome<Arc<Backing>> {
        let size = size
            .checked_next_multiple_of(if device.is_some() { GRANULE } else { 4096 })
            .ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
        charge(device, size)?;
        let Some(base) = map(0, size, -1, 0) else {
            discharge(device, size);
            return Err(CUDA_ERROR_OUT_OF_MEMORY);
        };
        if device.is_some() && !in_force().zero {
            // SAFETY: just mapped, nobody else knows it.
            unsafe { std::slice::from_raw_parts_mut(pointer(base), size as usize).fill(FRESH) };
        }
        Ok(Arc::new(Backing {
            base,
            size,
            place: Place::Ours,
            device,
            file: Mutex::new(None),
        }))
    }

    /// Managed memory: both sides reach it at the device address.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub fn at(address: u64, size: u64) -> Outcome<Arc<Backing>> {
        let base =
            map(address as usize, size, -1, libc::MAP_FIXED).ok_or(CUDA_ERROR_OUT_OF_MEMORY)?;
        Ok(Arc::new(Backing {
            base,
            size,
            place: Place::InRange,
            device: None,
            file: Mutex::new(None),
        }))
    }

    /// The program's memory.
    pub fn borrowed(address: usize, size: u64) -> Arc<Backing> {
        Arc::new(Backing {
            base: address,
            size,
            place: Place::Borrowed,
            device: None,
            file: Mutex::new(None),
        })
    }

    /// Memory of another process, or of this one, by its file.
    ///
    /// # Errors
    /// `CUDA_ERROR_INVALID_VALUE` for a file that is none.
    pub fn import(file: OwnedFd) -> Outcome<Arc<Backing>> {
        let copy = file.try_clone().map_err(|_| CUDA_ERROR_INVALID_VALUE)?;
        let size = std::fs::File::from(copy)
            .metadata()
            .map_or(0, |file| file.len());
        let base = (size > 0)
            .then(|| map(0, size, file.as_raw_fd(), 0))
            .flatten()
            .ok_or(CUDA_ERROR_INVALID_VALUE)?;
        Ok(Arc::new(Backing {
            base,
            size,
            place: Place::Ours,
            device: None,
            file: Mutex::new(Some(file)),
        }))
    }

    /// A file of the memory, for other processes. The contents move into it at the first call.
    ///
    /// # Errors
    /// `CUDA_ERROR_OPERATING_SYSTEM`.
    pub fn export(&self) -> Outcome<OwnedFd> {
        let mut file = lock(&self.file);
        if file.is_none() {
            *file = Some(self.move_to_file().ok_or(CUDA_ERROR_OPERATING_SYSTEM)?);
        }
        file.as_ref()
            .and_then(|file| file.try_clone().ok())
            .ok_or(CUDA_ERROR_OPERATING_SYSTEM)
    }

    fn move_to_file(&self) -> Option<OwnedFd> {
        // SAFETY: memfd_create(2) with a name that ends with zero.
        let number = unsafe { libc::memfd_create(c"xl-gpu-stub-cuda".as_ptr(), libc::MFD_CLOEXEC) };
        if number < 0 {
            return None;
        }
        // SAFETY: just opened, ours.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        // SAFETY: ftruncate(2) of our file, and write(2) of our memory.
        let written = unsafe {
            libc::ftruncate(number, self.size as i64) == 0
                && libc::pwrite(number, pointer(self.base).cast(), self.size as usize, 0)
                    == self.size as isize
        };
        (written && map(self.base, self.size, number, libc::MAP_FIXED).is_some()).then_some(file)
    }

    pub fn base(&self) -> usize {
        self.base
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn device(&self) -> Option<usize> {
        self.device
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        let (base, size) = (pointer(self.base).cast(), self.size as usize);
        match self.place {
            // SAFETY: mapped by `map`; the last reference goes.
            Place::Ours => unsafe {
                libc::munmap(base, size);
            },
            // SAFETY: as above; the address goes back to what it was, unreachable.
            Place::InRange => unsafe {
                let flags =
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
                libc::mmap(base, size, libc::PROT_NONE, flags, -1, 0);
            },
            Place::Borrowed => {}
        }
        discharge(self.device, self.size);
    }
}

fn charge(device: Option<usize>, size: u64) -> Outcome<()> {
    match device.and_then(|ordinal| device::all().get(ordinal)) {
        Some(device) => device.take(size),
        None => Ok(()),
    }
}

fn discharge(device: Option<usize>, size: u64) {
    if let Some(device) = device.and_then(|ordinal| device::all().get(ordinal)) {
        device.give_back(size);
    }
}

fn pointer(address: usize) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address)
}

/// A new mapping, readable and writable: of a file, or of nothing for -1.
fn map(address: usize, size: u64, file: i32, flags: i32) -> Option<usize> {
    let kind = match file {
        -1 => libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        _ => libc::MAP_SHARED,
    };
    // SAFETY: a new mapping; `MAP_FIXED` is asked for only over memory or addresses of our own.
    let start = unsafe {
        libc::mmap(
            pointer(address).cast(),
            size as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            kind | flags,
            file,
            0,
        )
    };
    (start != libc::MAP_FAILED).then(|| start.expose_provenance())
}
