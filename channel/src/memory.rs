//! Memory that another party writes at the same time.
//!
//! The one module that reads and writes shared bytes. No Rust reference or slice is ever formed over
//! them: words go through atomics, bulk data through an opaque string copy, so a peer that changes
//! bytes under us can give wrong values but never undefined behaviour. Values are validated by the
//! callers, once, in private memory.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A mapping shared with the peer, and whatever keeps it mapped.
pub struct SharedRegion {
    base: NonNull<u8>,
    len: usize,
    owner: Arc<dyn Send + Sync>,
}

// SAFETY: the region is plain memory that any thread may access through the methods below, which use
// atomics or opaque copies only; the owner is Send + Sync itself.
unsafe impl Send for SharedRegion {}
// SAFETY: as above.
unsafe impl Sync for SharedRegion {}

impl SharedRegion {
    /// Takes over a mapping.
    ///
    /// # Safety
    /// `base` must be page-aligned and point to `len` readable and writable bytes that stay mapped for
    /// as long as `owner` lives, and no Rust reference to them may exist.
    pub unsafe fn new(base: NonNull<u8>, len: usize, owner: Box<dyn Send + Sync>) -> Self {
        assert!(
            base.addr().get().is_multiple_of(crate::PAGE_SIZE),
            "shared region at {base:p} is not page-aligned"
        );
        SharedRegion {
            base,
            len,
            owner: owner.into(),
        }
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Keeps the region mapped for as long as the result lives.
    pub fn pages(&self) -> SharedPages {
        SharedPages {
            base: self.base,
            len: self.len,
            _owner: Arc::clone(&self.owner),
        }
    }

    /// True for a region of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes `offset .. offset + len`, or `None` where they leave the region.
    pub fn slice(&self, offset: usize, len: usize) -> Option<SharedBytes<'_>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: offset + len <= self.len, so the result lies in the mapping.
        let base = unsafe { self.base.add(offset) };
        Some(SharedBytes {
            base,
            len,
            region: PhantomData,
        })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.len,
            "word at {offset} of a region of {} bytes",
            self.len
        );
        // SAFETY: in bounds and aligned (asserted; the base is page-aligned), alive as long as self. The
        // peer accesses it as an aligned 32-bit word too, which an atomic permits.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// Reads the 32-bit word at `offset` once. `offset` must be ours (a constant of the layout).
    pub fn load(&self, offset: usize, order: Ordering) -> u32 {
        u32::from_le(self.word(offset).load(order))
    }

    /// Writes the 32-bit word at `offset`. `offset` must be ours (a constant of the layout).
    pub fn store(&self, offset: usize, value: u32, order: Ordering) {
        self.word(offset).store(value.to_le(), order);
    }
}

impl fmt::Debug for SharedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedRegion({:p}, {} bytes)", self.base, self.len)
    }
}

/// The memory of a [`SharedRegion`], kept mapped: for a driver that pins it.
#[derive(Clone)]
pub struct SharedPages {
    base: NonNull<u8>,
    len: usize,
    _owner: Arc<dyn Send + Sync>,
}

// SAFETY: an address range and an owner that is Send + Sync; nothing is accessed through it in Rust.
unsafe impl Send for SharedPages {}
// SAFETY: as above.
unsafe impl Sync for SharedPages {}

impl SharedPages {
    /// Address of the first byte, page-aligned; readable and writable as long as this lives. No reference to the
    /// bytes may be formed.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SharedPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedPages({:p}, {} bytes)", self.base, self.len)
    }
}

/// A range of a [`SharedRegion`]; copied in and out, never borrowed as a slice.
#[derive(Clone, Copy)]
pub struct SharedBytes<'a> {
    base: NonNull<u8>,
    len: usize,
    region: PhantomData<&'a SharedRegion>,
}

// SAFETY: as for SharedRegion: access only by opaque copies.
unsafe impl Send for SharedBytes<'_> {}

impl<'a> SharedBytes<'a> {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first byte, for a driver's DMA or a system call; valid as long as the region.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The bytes `offset .. offset + len` of this range, or `None` where they leave it.
    pub fn slice(&self, offset: usize, len: usize) -> Option<SharedBytes<'a>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: in bounds of this range, which lies in the mapping.
        let base = unsafe { self.base.add(offset) };
        Some(SharedBytes {
            base,
            len,
            region: PhantomData,
        })
    }

    /// Copies the whole range out. `to` must have its length.
    pub fn read(&self, to: &mut [u8]) {
        assert_eq!(to.len(), self.len, "copy out of shared memory");
        // SAFETY: both ranges have self.len bytes; `to` is private and exclusive.
        unsafe { copy(self.base.as_ptr(), to.as_mut_ptr(), self.len) }
    }

    /// Fills the whole range from a file, at `offset` bytes in it: the kernel copies.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` where the file ends before.
    pub fn fill_from(&self, file: BorrowedFd<'_>, mut offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < self.len {
            let at = i64::try_from(offset).map_err(io::Error::other)?;
            // SAFETY: `done < self.len`, so the pointer and the rest of the range lie in the mapping, which is writable
            // and never behind a reference; it is the kernel that writes.
            let read = unsafe {
                let to = self.base.as_ptr().add(done);
                libc::pread64(file.as_raw_fd(), to.cast(), self.len - done, at)
            };
            match read {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                1.. => {
                    done += read.unsigned_abs();
                    offset += read.unsigned_abs() as u64;
                }
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets every byte to zero.
    pub fn fill_zero(&self) {
        static ZEROS: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while let Some(rest) = self.len.checked_sub(at).filter(|rest| *rest > 0) {
            let len = rest.min(ZEROS.len());
            let part = self.slice(at, len).expect("in the range");
            part.write(&ZEROS[..len]);
            at += len;
        }
    }

    /// Copies the bytes of another range in, of the same length. They must not overlap.
    pub fn copy_from(&self, from: &SharedBytes<'_>) {
        assert_eq!(from.len, self.len, "copy within shared memory");
        // SAFETY: both ranges have self.len bytes of a mapping, and neither is ever behind a reference. An overlap, or a peer that
        // writes meanwhile, gives wrong bytes.
        unsafe { copy(from.base.as_ptr(), self.base.as_ptr(), self.len) }
    }

    /// Copies `from` in. It must have the range's length.
    pub fn write(&self, from: &[u8]) {
        assert_eq!(from.len(), self.len, "copy into shared memory");
        // SAFETY: both ranges have self.len bytes; shared memory is never behind a reference.
        unsafe { copy(from.as_ptr(), self.base.as_ptr(), self.len) }
    }
}

/// Copies `len` bytes by string instructions the compiler cannot see into: a concurrent writer is then
/// not a data race of the language, and the processor's fast strings run at memcpy's speed.
///
/// # Safety
/// `from` must be readable and `to` writable for `len` bytes, and they must not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI; only the named registers and
    // the target's memory change.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            "mov rcx, {tail}",
            "rep movsb",
            tail = in(reg) len % 8,
            inout("rcx") len / 8 => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// As above, word by word where there are no string instructions.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    for i in 0..len {
        // SAFETY: i < len and the caller's promise.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) }
    }
}

#[cfg(test)]
pub(crate) fn private_region(len: usize) -> SharedRegion {
    let layout = std::alloc::Layout::from_size_align(len, crate::PAGE_SIZE).expect("layout");
    struct Owner(*mut u8, std::alloc::Layout);
    // SAFETY: only freed, once, by drop.
    unsafe impl Send for Owner {}
    // SAFETY: as above.
    unsafe impl Sync for Owner {}
    impl Drop for Owner {
        fn drop(&mut self) {
            // SAFETY: allocated below with this layout.
            unsafe { std::alloc::dealloc(self.0, self.1) }
        }
    }
    // SAFETY: a fresh zeroed allocation of len > 0 bytes that Owner frees.
    unsafe {
        let p = std::alloc::alloc_zeroed(layout);
        SharedRegion::new(
            NonNull::new(p).expect("memory"),
            len,
            Box::new(Owner(p, layout)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn copies_every_byte(offset in 0usize..64, data in proptest::collection::vec(any::<u8>(), 0..512)) {
            let region = private_region(4096);
            let range = region.slice(offset, data.len()).unwrap();
            range.write(&data);
            let mut back = vec![0; data.len()];
            range.read(&mut back);
            prop_assert_eq!(&back, &data);
            let mut after = [1];
            region.slice(offset + data.len(), 1).unwrap().read(&mut after);
            prop_assert_eq!(after, [0], "a byte past the end was written");
        }

        #[test]
        fn never_leaves_the_region(offset in any::<usize>(), len in any::<usize>()) {
            let region = private_region(8192);
            let ok = offset.checked_add(len).is_some_and(|end| end <= 8192);
            prop_assert_eq!(region.slice(offset, len).is_some(), ok);
        }
    }
}
