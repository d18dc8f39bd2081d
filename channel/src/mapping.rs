//! Pages of a file, mapped as a shared region. `unsafe` here is the mapping alone.

use crate::PAGE_SIZE;
use crate::memory::SharedRegion;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;

struct Mapping(NonNull<u8>, usize);

// SAFETY: only ever unmapped, once, by drop.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; the SharedRegion that used it owned this value.
        if let Err(e) = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), self.1) } {
            log::error!("munmap of the shared pages: {e}");
        }
    }
}

/// Maps the first `pages` pages of `file`. A child of `fork` does not keep them.
pub(crate) fn map(file: impl AsFd, pages: usize) -> io::Result<SharedRegion> {
    let len = pages * PAGE_SIZE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let base = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            file,
            0,
        )?
    };
    // SAFETY: the mapping just made. Failure only loses that courtesy.
    let _ = unsafe { rustix::mm::madvise(base, len, Advice::LinuxDontFork) };
    let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap gave no address"))?;
    // SAFETY: len bytes just mapped read-write; Mapping unmaps them when the region goes.
    Ok(unsafe { SharedRegion::new(base, len, Box::new(Mapping(base, len))) })
}
