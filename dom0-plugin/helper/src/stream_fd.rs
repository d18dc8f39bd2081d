//! The descriptor of the migration stream, which belongs to the helper.

use std::os::fd::{AsFd, BorrowedFd, RawFd};

use rustix::fs::fstat;

/// The stream as it was when the save began.
///
/// To cancel a save, libxl sends the helper SIGTERM; its handler puts `/dev/null`, opened for reading, in the
/// descriptor's place, so that libxc's next write fails (`save_signal_handler` in `libxl_save_helper.c`). `xl-gpud`
/// holds the stream itself and would not notice.
#[derive(Debug, Clone, Copy)]
pub struct StreamFd {
    fd: RawFd,
    identity: Option<(u64, u64)>,
}

impl StreamFd {
    /// # Safety
    /// `fd` is open, and stays so as long as the value is used.
    pub unsafe fn new(fd: RawFd) -> Self {
        let mut this = Self { fd, identity: None };
        this.identity = this.look();
        this
    }

    /// True once something else stands in the stream's place.
    pub fn cancelled(&self) -> bool {
        self.look() != self.identity
    }

    fn look(&self) -> Option<(u64, u64)> {
        fstat(self).ok().map(|s| (s.st_dev, s.st_ino))
    }
}

impl AsFd for StreamFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open, as `new` requires.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn another_file_in_its_place_is_a_cancel() {
        let (_reader, writer) = std::io::pipe().unwrap();
        // SAFETY: open until the end of the test.
        let stream = unsafe { StreamFd::new(writer.as_raw_fd()) };
        assert!(!stream.cancelled());
        let null = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: both are open.
        unsafe { libc::dup2(null.as_raw_fd(), writer.as_raw_fd()) };
        assert!(stream.cancelled());
    }
}
