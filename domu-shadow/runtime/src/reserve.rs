//! Room for the way back: file descriptors and address space, held while no driver is there.
//!
//! The program's threads run on meanwhile, but for their GPU calls. What a driver gave up when it was unloaded they
//! could take, and where the process may not have more, neither driver nor session could be opened again. The descriptors
//! are copies of one empty file, the address space is a mapping that nobody may touch.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// What something needs of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Descriptors.
    pub files: usize,
    /// Address space, bytes.
    pub bytes: usize,
}

impl Room {
    /// Of a link to dom0: pages, doorbells, and what opening them takes.
    pub const LINK: Room = Room {
        files: 8,
        bytes: 24 << 20,
    };
    /// Of looking at the process and of loading libraries, beside what stays open and mapped.
    pub const WORK: Room = Room {
        files: 16,
        bytes: 40 << 20,
    };

    fn each(self, other: Room, both: impl Fn(usize, usize) -> usize) -> Room {
        Room {
            files: both(self.files, other.files),
            bytes: both(self.bytes, other.bytes),
        }
    }

    /// Both.
    pub fn and(self, other: Room) -> Room {
        self.each(other, usize::saturating_add)
    }

    /// This, with less of nothing than the other has.
    pub fn max(self, other: Room) -> Room {
        self.each(other, usize::max)
    }

    /// What of this is not the other's.
    pub fn without(self, other: Room) -> Room {
        self.each(other, usize::saturating_sub)
    }

    /// What the process has now; `None` where that cannot be read.
    pub fn in_use() -> Option<Room> {
        let sizes = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: usize = sizes.split(' ').next()?.parse().ok()?;
        Some(Room {
            files: std::fs::read_dir("/proc/self/fd").ok()?.count(),
            bytes: pages * PAGE,
        })
    }
}

/// What the process cannot have.
#[derive(Debug, thiserror::Error)]
pub enum Short {
    #[error("{count} more file descriptors: {source}")]
    Files { count: usize, source: io::Error },
    #[error("{mib} MiB more of address space: {source}")]
    Space { mib: usize, source: io::Error },
}

/// Held until it is dropped.
#[derive(Debug, Default)]
pub struct Reserve {
    files: Vec<File>,
    /// Device and inode of the file: where the program has closed our copies, their numbers are its own.
    file: (u64, u64),
    space: Option<Space>,
}

impl Reserve {
    /// # Errors
    /// What the process cannot have.
    pub fn take(room: Room) -> Result<Reserve, Short> {
        let mut reserve = Reserve::default();
        let (count, mib) = (room.files, room.bytes >> 20);
        let files = reserve.take_files(count);
        files.map_err(|source| Short::Files { count, source })?;
        let space = reserve.take_space(room.bytes);
        space.map_err(|source| Short::Space { mib, source })?;
        Ok(reserve)
    }

    /// As much of `room` as there is.
    pub fn at_most(mut room: Room) -> Reserve {
        let mut reserve = Reserve::default();
        if let Err(e) = reserve.take_files(room.files) {
            log::debug!(
                "of {} file descriptors to reserve there are {}: {e}",
                room.files,
                reserve.files.len()
            );
        }
        while room.bytes >= PAGE && reserve.take_space(room.bytes).is_err() {
            room.bytes /= 2;
        }
        reserve
    }

    fn take_files(&mut self, count: usize) -> io::Result<()> {
        for _ in 0..count {
            let another = match self.files.first() {
                Some(first) => first.try_clone()?,
                None => self.first_file()?,
            };
            self.files.push(another);
        }
        Ok(())
    }

    fn first_file(&mut self) -> io::Result<File> {
        // SAFETY: the name is a C string.
        let number = unsafe { libc::memfd_create(c"xl-gpu-reserve".as_ptr(), libc::MFD_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let file = unsafe { File::from_raw_fd(number) };
        let it = file.metadata()?;
        self.file = (it.dev(), it.ino());
        Ok(file)
    }

    fn take_space(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > 0 && Space::is_limited() {
            self.space = Some(Space::take(bytes)?);
        }
        Ok(())
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        for file in self.files.drain(..) {
            let it = file.metadata().map(|it| (it.dev(), it.ino()));
            if it.ok() != Some(self.file) {
                std::mem::forget(file);
            }
        }
    }
}

/// Mapped, and nothing behind it.
#[derive(Debug)]
struct Space {
    start: NonNull<libc::c_void>,
    bytes: usize,
}

// SAFETY: a range of addresses, which nobody reads or writes.
unsafe impl Send for Space {}

impl Space {
    /// Whether the process may map only so much.
    fn is_limited() -> bool {
        let mut limit = libc::rlimit {
            rlim_cur: libc::RLIM_INFINITY,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: `limit` has room for the answer.
        unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
        limit.rlim_cur != libc::RLIM_INFINITY
    }

    fn take(bytes: usize) -> io::Result<Space> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choosing overlaps nothing.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(Space { start, bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping, of which nobody has the address.
        unsafe { libc::munmap(self.start.as_ptr(), self.bytes) };
    }
}
