//! A sparse file, in memory or on disk, that objects live in.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use channel::memory::SharedBytes;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, MemfdFlags, Mode, OFlags, fallocate, fstatvfs, linkat,
    memfd_create, open,
};
use rustix::io::Errno;

use super::backing_file::BackingFile;
use super::error::SpoolError;

/// Largest offset used, in bytes: what ext4 allows in one file with 4 KiB blocks.
const MAX_OFFSET: u64 = 16 << 40;

/// One sparse file. Space in it is addressed, not necessarily allocated.
#[derive(Debug)]
pub(super) struct Store {
    body: Arc<BackingFile>,
    place: String,
    end: u64,
    on_disk: bool,
    /// What [`reserve`] says stays free on its filesystem.
    keep_free: bool,
}

/// Bytes of a filesystem of `size` bytes that are left to others.
pub(super) fn reserve(size: u64) -> u64 {
    (size / 20).max(1 << 30)
}

impl Store {
    /// Memory without a name; in `dir`, a memory filesystem, where one is given: it can be linked there.
    pub fn in_memory(dir: Option<&Path>) -> Result<Store, SpoolError> {
        if let Some(dir) = dir {
            let (file, place) = (create(dir)?, dir.display().to_string());
            return Ok(Store::of(BackingFile::mapped(file), place, 0));
        }
        let fd = memfd_create("xl-gpu-spool", MemfdFlags::CLOEXEC)
            .map_err(|errno| SpoolError::Memfd(errno.into()))?;
        Ok(Store::of(
            BackingFile::mapped(fd.into()),
            "memory".to_owned(),
            0,
        ))
    }

    /// A file without a name in `dir`: it cannot be left behind. With `keep_free` it does not fill its filesystem up.
    pub fn on_disk(dir: &Path, keep_free: bool) -> Result<Store, SpoolError> {
        let (file, place) = (create(dir)?, dir.display().to_string());
        Ok(Store {
            on_disk: true,
            keep_free,
            ..Store::of(BackingFile::plain(file), place, 0)
        })
    }

    /// A file that an earlier daemon linked at `path`.
    pub fn linked(path: &Path, end: u64, on_disk: bool) -> io::Result<Store> {
        let file = File::options().read(true).write(true).open(path)?;
        let body = match on_disk {
            true => BackingFile::plain(file),
            false => BackingFile::mapped(file),
        };
        Ok(Store {
            on_disk,
            keep_free: on_disk,
            ..Store::of(body, path.display().to_string(), end)
        })
    }

    fn of(body: BackingFile, place: String, end: u64) -> Store {
        Store {
            body: Arc::new(body),
            place,
            end,
            on_disk: false,
            keep_free: false,
        }
    }

    /// Gives the file a name: from then on it outlives this process.
    pub fn link(&self, path: &Path) -> io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.body.file.as_raw_fd());
        linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        Ok(())
    }

    /// Bytes addressed so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    /// To be written beside others.
    pub fn body(&self) -> Arc<BackingFile> {
        self.body.clone()
    }

    pub fn is_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Addresses `bytes` more bytes; `None` when the file would get too long.
    pub fn place_object(&mut self, bytes: u64) -> Option<u64> {
        let end = self
            .end
            .checked_add(bytes)
            .filter(|end| *end <= MAX_OFFSET)?;
        Some(std::mem::replace(&mut self.end, end))
    }

    /// Takes back the addresses of an object that held no space any more, where they are the last.
    pub fn forget_object(&mut self, base: u64, bytes: u64) {
        if base + bytes == self.end {
            self.end = base;
        }
    }

    /// Claims space, so that writing there cannot run out of it.
    pub fn allocate(&self, offset: u64, bytes: u64) -> Result<(), SpoolError> {
        if self.keep_free {
            self.leaves_enough(bytes)
                .map_err(|error| SpoolError::NoSpace {
                    place: self.place.clone(),
                    bytes,
                    error,
                })?;
        }
        loop {
            return match fallocate(
                self.body.file.as_fd(),
                FallocateFlags::empty(),
                offset,
                bytes,
            ) {
                Ok(()) => Ok(()),
                Err(Errno::INTR) => continue,
                // Not every filesystem can; there the write finds out. The file still has to be that long.
                Err(Errno::OPNOTSUPP) => self.extend(offset + bytes),
                Err(errno) => {
                    let place = self.place.clone();
                    Err(SpoolError::NoSpace {
                        place,
                        bytes,
                        error: errno.into(),
                    })
                }
            };
        }
    }

    fn leaves_enough(&self, bytes: u64) -> io::Result<()> {
        let found = fstatvfs(&self.body.file)?;
        let reserve = reserve(found.f_blocks.saturating_mul(found.f_frsize));
        let left = found.f_bavail.saturating_mul(found.f_frsize);
        match left.checked_sub(bytes) {
            Some(left) if left >= reserve => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{left} bytes are left there, {reserve} stay free for others"),
            )),
        }
    }

    fn extend(&self, end: u64) -> Result<(), SpoolError> {
        let longer = |len| {
            if len < end {
                self.body.file.set_len(end)
            } else {
                Ok(())
            }
        };
        let extended = self
            .body
            .file
            .metadata()
            .and_then(|metadata| longer(metadata.len()));
        let place = || self.place.clone();
        extended.map_err(|error| SpoolError::NoSpace {
            place: place(),
            bytes: end,
            error,
        })
    }

    /// Gives space back; it reads as zeros then. Where that cannot be done it is zeroed.
    pub fn punch(&self, mut offset: u64, bytes: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(self.body.file.as_fd(), flags, offset, bytes) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                let end = offset + bytes;
                while offset < end {
                    let len = (end - offset).min(ZEROS.len() as u64);
                    self.write(offset, &ZEROS[..len as usize])?;
                    offset += len;
                }
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.body.write(offset, bytes)
    }

    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.body.file.read_exact_at(buf, offset)
    }

    /// Reads into shared memory, all of `to`.
    pub fn fill(&self, offset: u64, to: SharedBytes<'_>) -> io::Result<()> {
        self.body.fill(offset, to)
    }
}

pub(super) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn create(dir: &Path) -> Result<File, SpoolError> {
    unnamed_file(dir).map_err(|error| SpoolError::Create {
        path: PathBuf::from(dir),
        error,
    })
}

fn unnamed_file(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(fd.into()),
        // NFS and overlayfs know no O_TMPFILE (EISDIR from kernels that do not know it at all).
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let path = dir.join(format!(".spool-{}-{}", std::process::id(), unique()));
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gigabyte_or_a_twentieth_stays_free() {
        assert_eq!(reserve(1 << 30), 1 << 30);
        assert_eq!(reserve(20 << 40), 1 << 40);
    }

    #[test]
    fn what_is_to_stay_free_is_not_taken() {
        let store = Store::on_disk(&std::env::temp_dir(), true).unwrap();
        let error = store.leaves_enough(u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
