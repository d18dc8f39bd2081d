//! The bytes of a store: a file, and where it lies in memory, mappings of it.
//!
//! The kernel lets one writer at a time into a file. Threads that copy into its mapping do not wait for each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use channel::memory::SharedBytes;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Bytes of the file that one mapping covers: few mappings, also for many objects.
const WINDOW: u64 = 1 << 30;

/// A store's file.
#[derive(Debug)]
pub(super) struct BackingFile {
    pub file: File,
    /// Mappings by number of window; `None` for a file on disk.
    windows: Option<Mutex<BTreeMap<u64, Arc<Window>>>>,
}

impl BackingFile {
    /// Of a file in memory.
    pub fn mapped(file: File) -> Self {
        Self {
            file,
            windows: Some(Mutex::default()),
        }
    }

    /// Of a file on disk, where a write says that it failed.
    pub fn plain(file: File) -> Self {
        Self {
            file,
            windows: None,
        }
    }

    /// Writes into space that has been allocated.
    pub fn write(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = WINDOW - offset % WINDOW;
            let (part, rest) = bytes.split_at(bytes.len().min(room as usize));
            match self.window(offset / WINDOW) {
                Some(window) => window.write((offset % WINDOW) as usize, part),
                None => self.file.write_all_at(part, offset)?,
            }
            offset += part.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Fills all of `to` from space that has been allocated.
    pub fn fill(&self, mut offset: u64, to: SharedBytes<'_>) -> io::Result<()> {
        let mut done = 0;
        while done < to.len() {
            let room = (WINDOW - offset % WINDOW).min((to.len() - done) as u64) as usize;
            let part = to.slice(done, room).expect("within `to`");
            match self.window(offset / WINDOW) {
                Some(window) => window.fill((offset % WINDOW) as usize, part),
                None => part.fill_from(self.file.as_fd(), offset)?,
            }
            offset += room as u64;
            done += room;
        }
        Ok(())
    }

    /// `None` where the file is not to be mapped, or cannot be.
    fn window(&self, number: u64) -> Option<Arc<Window>> {
        let windows = self.windows.as_ref()?;
        let mut windows = windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.get(&number) {
            return Some(window.clone());
        }
        let window = Arc::new(Window::map(&self.file, number * WINDOW).ok()?);
        windows.insert(number, window.clone());
        Some(window)
    }
}

/// A mapped part of a file.
#[derive(Debug)]
struct Window(NonNull<u8>);

// SAFETY: shared memory that is written by copies only, and never referred to.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    fn map(file: &File, offset: u64) -> io::Result<Self> {
        let (access, sharing) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                WINDOW as usize,
                access,
                sharing,
                file,
                offset,
            )
        }?;
        // SAFETY: the mapping just made; the advice does not change what is in it, and may be refused.
        let _ = unsafe { madvise(base, WINDOW as usize, Advice::LinuxHugepage) };
        Ok(Self(
            NonNull::new(base.cast()).expect("mmap gives no null page"),
        ))
    }

    fn fill(&self, at: usize, to: SharedBytes<'_>) {
        assert!(at + to.len() <= WINDOW as usize, "beyond the window");
        // SAFETY: in bounds of both, which are different memory; `to` may be written by anybody and is never referred to.
        // That there is memory behind ours, and who else may use it: see `write`.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr().add(at), to.as_ptr(), to.len());
        }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= WINDOW as usize, "beyond the window");
        // SAFETY: in bounds. The space has been allocated and is punched by nobody who does not hold the image alone, so
        // there is memory behind it. Two who write the same place may mix their bytes (see `super::parallel_writer`), as with
        // write(2): nobody refers to them.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len());
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: our mapping, whole, and not used again. It cannot fail with these arguments.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), WINDOW as usize) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn file(bytes: u64) -> File {
        let file = File::from(memfd_create("body", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(bytes).unwrap();
        file
    }

    #[test]
    fn mapped_and_plain_say_the_same_across_windows() {
        let at = WINDOW - 3;
        for body in [
            BackingFile::mapped(file(WINDOW + 8)),
            BackingFile::plain(file(WINDOW + 8)),
        ] {
            body.write(at, b"sixsix").unwrap();
            body.write(WINDOW + 3, b"after").unwrap();
            let mut found = [0; 11];
            body.file.read_exact_at(&mut found, at).unwrap();
            assert_eq!(&found, b"sixsixafter");
        }
    }

    #[test]
    fn threads_side_by_side() {
        let body = BackingFile::mapped(file(16 << 12));
        std::thread::scope(|scope| {
            for n in 0..16u8 {
                let body = &body;
                scope.spawn(move || body.write(u64::from(n) << 12, &[n; 4096]).unwrap());
            }
        });
        let mut found = vec![0; 16 << 12];
        body.file.read_exact_at(&mut found, 0).unwrap();
        assert!(
            found
                .chunks(4096)
                .zip(0u8..)
                .all(|(page, n)| page.iter().all(|b| *b == n))
        );
    }
}
