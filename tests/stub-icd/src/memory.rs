//! Memory by address: the "device's", which is the host's, and the program's. The only place that touches it.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opencl_sys::{CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_RESOURCES};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::ffi::{CLResult, HostIn, HostOut};
use crate::options;

/// What stands in fresh device memory: not zero, so that a buffer that was not restored shows.
pub const FRESH: u8 = 0xCB;
const ALIGNMENT: usize = 4096;

static USED: AtomicU64 = AtomicU64::new(0);

/// Bytes of device memory allocated now.
pub fn used() -> u64 {
    USED.load(Ordering::Relaxed)
}

/// Takes memory of the process's allocator for ever, by each of its functions.
pub fn forget(size: usize) {
    let mut table = vec![FRESH; size / 2];
    let for_a_while = table.clone();
    table.reserve_exact(size - table.len());
    table.resize(size, FRESH);
    drop(for_a_while);
    std::mem::forget(std::hint::black_box((table, vec![0_u8; size])));
}

/// A range of memory. Every access is checked against its size.
pub struct Memory {
    base: *mut u8,
    size: usize,
    /// Set if the range is ours to free.
    layout: Option<Layout>,
    /// Whether it counts as device memory.
    device: bool,
    /// Whether it is a mapping of ours.
    mapped: bool,
}

/// A descriptor that the program has given away.
pub fn own_file(file: i32) -> OwnedFd {
    // SAFETY: "the application transfers ownership of the handle to the implementation".
    unsafe { OwnedFd::from_raw_fd(file) }
}

// SAFETY: the range is valid for as long as the object (ours) or as the specification makes the program keep it. Copies
// that race on the same bytes are as undefined in OpenCL as they are here; a test that races tests nothing.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Device memory, within the limit that the options set.
    pub fn device(size: usize) -> CLResult<Arc<Memory>> {
        let limit = options::in_force().memory;
        let taken = USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(size as u64).filter(|&sum| sum <= limit)
        });
        taken.map_err(|_| CL_MEM_OBJECT_ALLOCATION_FAILURE)?;
        Self::allocate(size, true).inspect_err(|_| {
            USED.fetch_sub(size as u64, Ordering::Relaxed);
        })
    }

    /// Host memory for a mapping of a device buffer.
    pub fn staging(size: usize) -> CLResult<Arc<Memory>> {
        Self::allocate(size, false)
    }

    fn allocate(size: usize, device: bool) -> CLResult<Arc<Memory>> {
        let layout = Layout::from_size_align(size.max(1), ALIGNMENT)
            .map_err(|_| CL_MEM_OBJECT_ALLOCATION_FAILURE)?;
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc(layout) };
        if base.is_null() {
            return Err(CL_MEM_OBJECT_ALLOCATION_FAILURE);
        }
        // SAFETY: just allocated with at least `size` bytes.
        unsafe { base.write_bytes(FRESH, size) };
        let mut memory = Memory::borrowed(base, size);
        (memory.layout, memory.device) = (Some(layout), device);
        Ok(Arc::new(memory))
    }

    /// Memory of the program that is only read.
    pub fn of_input(from: HostIn, size: usize) -> Memory {
        Memory::borrowed(from.address(), size)
    }

    /// Memory of the program.
    pub fn of_program(at: HostOut, size: usize) -> Memory {
        Memory::borrowed(at.address(), size)
    }

    /// Memory that somebody else frees.
    fn borrowed(base: *mut u8, size: usize) -> Memory {
        Memory {
            base,
            size,
            layout: None,
            device: false,
            mapped: false,
        }
    }

    /// Memory that another API shares. The file is the driver's from now on.
    pub fn of_file(file: i32, size: usize) -> CLResult<Arc<Memory>> {
        let file = own_file(file);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address that nothing else has; the mapping goes when the object does.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                size,
                access,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let base = base.map_err(|_| CL_MEM_OBJECT_ALLOCATION_FAILURE)?;
        let mut memory = Memory::borrowed(base.cast(), size);
        memory.mapped = true;
        Ok(Arc::new(memory))
    }

    /// The address of a byte, as the program gets it from a map.
    pub fn address(&self, offset: usize) -> *mut c_void {
        self.base.wrapping_add(offset).cast()
    }

    fn at(&self, offset: usize, len: usize) -> CLResult<*mut u8> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(self.base.wrapping_add(offset)),
            _ => Err(CL_OUT_OF_RESOURCES),
        }
    }

    /// Copies `len` bytes from `source`; overlap is fine.
    ///
    /// # Errors
    /// `CL_OUT_OF_RESOURCES`, the code of a GPU's memory fault, if either range is exceeded.
    pub fn copy_from(
        &self,
        offset: usize,
        source: &Memory,
        source_offset: usize,
        len: usize,
    ) -> CLResult<()> {
        let (to, from) = (self.at(offset, len)?, source.at(source_offset, len)?);
        // SAFETY: both ranges lie in valid memory by the checks above and the contract of the type.
        unsafe { std::ptr::copy(from, to, len) };
        Ok(())
    }

    pub fn read<const N: usize>(&self, offset: usize) -> CLResult<[u8; N]> {
        let from = self.at(offset, N)?;
        // SAFETY: in range by the check; an array of bytes has no alignment.
        Ok(unsafe { from.cast::<[u8; N]>().read() })
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) -> CLResult<()> {
        let to = self.at(offset, bytes.len())?;
        // SAFETY: in range by the check; `bytes` is ours and cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Repeats `pattern` over `len` bytes.
    pub fn fill(&self, offset: usize, pattern: &[u8], len: usize) -> CLResult<()> {
        (0..len / pattern.len().max(1))
            .try_for_each(|nth| self.write(offset + nth * pattern.len(), pattern))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: mapped with this size by `of_file`. A refusal leaves it there, which harms nobody.
            let _ = unsafe { munmap(self.base.cast(), self.size) };
        }
        let Some(layout) = self.layout else { return };
        if self.device {
            USED.fetch_sub(self.size as u64, Ordering::Relaxed);
        }
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.base, layout) };
    }
}
