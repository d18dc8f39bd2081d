//! libxc's bitmap of pages to send.
//!
//! libxc makes it in its `setup()` with `xc__hypercall_buffer_alloc_pages`, a bit for each page of the guest, and sets all
//! of it before the first round. It is found by standing in front of that function and of the one that frees it.
//!
//! `unsafe`: two C functions, and memory that they own. libxc is on one thread, and inside a callback of ours while the
//! bitmap is edited.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard};

use super::error::RamError;
use super::page::PAGE;
use crate::originals;
use crate::slots::BufferSlots;

/// A buffer that libxc has.
#[derive(Debug, Clone, Copy)]
struct Buffer {
    /// Identifies it when it is freed.
    handle: usize,
    memory: usize,
    pages: usize,
}

static BUFFERS: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

fn buffers() -> MutexGuard<'static, Vec<Buffer>> {
    BUFFERS.lock().unwrap_or_else(|e| e.into_inner())
}

/// Stands in front of the two functions until it is dropped.
#[derive(Debug)]
pub struct BufferHook(BufferSlots);

impl BufferHook {
    /// Before libxc's `xc_domain_save` is called. `None` where the functions are not there.
    pub fn set() -> Option<Self> {
        buffers().clear();
        originals::get()?.buffers?;
        Some(Self(BufferSlots::set(alloc_pages, free_pages)))
    }
}

impl Drop for BufferHook {
    fn drop(&mut self) {
        self.0.restore();
        buffers().clear();
    }
}

/// In front of libxenctrl's function.
///
/// # Safety
/// As `xc__hypercall_buffer_alloc_pages`.
unsafe extern "C" fn alloc_pages(xch: usize, handle: usize, pages: c_int) -> *mut c_void {
    let Some((alloc, _)) = originals::get().and_then(|o| o.buffers) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the caller's own arguments.
    let memory = unsafe { alloc(xch, handle, pages) };
    if let (false, Ok(pages)) = (memory.is_null(), usize::try_from(pages)) {
        let mut buffers = buffers();
        buffers.retain(|b| b.handle != handle);
        buffers.push(Buffer {
            handle,
            memory: memory as usize,
            pages,
        });
    }
    memory
}

/// In front of libxenctrl's function.
///
/// # Safety
/// As `xc__hypercall_buffer_free_pages`.
unsafe extern "C" fn free_pages(xch: usize, handle: usize, pages: c_int) {
    buffers().retain(|b| b.handle != handle);
    if let Some((_, free)) = originals::get().and_then(|o| o.buffers) {
        // SAFETY: the caller's own arguments.
        unsafe { free(xch, handle, pages) }
    }
}

/// Gives the bitmap of `pfns` pages to `work`, if there is exactly one buffer of its size and all its bits are set.
///
/// # Errors
/// That, or what `work` gives.
pub fn edit(
    pfns: usize,
    work: impl FnOnce(&mut [u8]) -> Result<(), RamError>,
) -> Result<(), RamError> {
    let bytes = pfns.div_ceil(8);
    let pages = bytes.div_ceil(PAGE);
    let mut of_its_size = buffers().clone();
    of_its_size.retain(|b| b.pages == pages);
    let &[buffer] = &of_its_size[..] else {
        return Err(RamError::Bitmaps(of_its_size.len()));
    };
    // SAFETY: the buffer has that many pages. libxc, which owns it, is inside a callback on the thread that is here: it
    // neither frees nor uses it, and the hypervisor writes it during libxc's hypercalls only.
    let bits = unsafe { std::slice::from_raw_parts_mut(buffer.memory as *mut u8, bytes) };
    if !all_set(bits, pfns) {
        return Err(RamError::BitmapNotFull);
    }
    work(bits)
}

fn all_set(bits: &[u8], count: usize) -> bool {
    let (whole, rest) = (count / 8, count % 8);
    let last = (1u8 << rest) - 1;
    bits[..whole].iter().all(|b| *b == 0xff) && (rest == 0 || bits[whole] & last == last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_bit_is_found() {
        assert!(all_set(&[0xff, 0xff], 16));
        assert!(all_set(&[0xff, 0x07], 11));
        assert!(!all_set(&[0xff, 0x07], 12));
        assert!(!all_set(&[0xfe, 0xff], 16));
        assert!(all_set(&[], 0));
    }
}
