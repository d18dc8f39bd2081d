//! A migration stream's file descriptor, blocking or not.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Reads and writes the stream another process handed over.
///
/// The descriptor shares its file status flags with that process, so whether it blocks is not ours to
/// choose: both kinds work here, and both wait as long as the peer does, which is what libxc does.
#[derive(Debug)]
pub struct StreamFd(OwnedFd);

impl StreamFd {
    /// Takes `fd`.
    pub fn new(fd: OwnedFd) -> StreamFd {
        StreamFd(fd)
    }

    fn retry(
        &self,
        events: PollFlags,
        mut transfer: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match transfer() {
                // Errors and hang-ups that end the wait are reported by the next transfer.
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&self.0, events)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                },
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

/// The same pipe under another open file description, so that not to block is a flag of ours alone.
pub fn without_blocking(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let access = rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE;
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

impl AsFd for StreamFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for StreamFd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, || rustix::io::read(&self.0, &mut *buf))
    }
}

impl Write for StreamFd {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, || rustix::io::writev(&self.0, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
