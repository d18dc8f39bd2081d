//! A migration stream's file descriptor, with a way out of a wait.
//!
//! The descriptor blocks as the toolstack left it, and its status flags are the toolstack's too; so a pipe is opened
//! anew, without blocking, and a socket is asked each time not to. A file does not stall.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often a wait looks whether it has been called off.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A stream to write to or read from until it is called off.
pub struct StreamEnd<F = OwnedFd> {
    fd: F,
    /// The same pipe under another open file description: not to block is a flag of ours alone.
    reopened: Option<OwnedFd>,
    is_socket: bool,
    is_cancelled: Box<dyn Fn() -> bool + Send>,
}

impl StreamEnd {
    /// Takes the stream; waits end with an error once `cancelled` is set.
    pub fn new(fd: OwnedFd, cancelled: Arc<AtomicBool>) -> io::Result<Self> {
        Self::cancelled_by(fd, move || cancelled.load(Ordering::Relaxed))
    }
}

impl<F: AsFd> StreamEnd<F> {
    /// Transfers end with an error once `is_cancelled` says so, which is asked before each and ten times a second.
    pub fn cancelled_by(
        fd: F,
        is_cancelled: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        let reopened = match kind {
            FileType::Fifo => Some(without_blocking(fd.as_fd())?),
            _ => None,
        };
        Ok(StreamEnd {
            fd,
            reopened,
            is_socket: kind == FileType::Socket,
            is_cancelled: Box::new(is_cancelled),
        })
    }

    fn retry(
        &self,
        events: PollFlags,
        mut transfer: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if (self.is_cancelled)() {
                return Err(io::Error::other("the operation was cancelled"));
            }
            match transfer() {
                // Errors and hang-ups that end the wait are reported by the next transfer.
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(self, events)], Some(&TICK)) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                },
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

fn without_blocking(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let access = rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE;
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

impl<F: AsFd> AsFd for StreamEnd<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.reopened {
            Some(own) => own.as_fd(),
            None => self.fd.as_fd(),
        }
    }
}

impl<F: AsFd> std::fmt::Debug for StreamEnd<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamEnd({:?})", self.as_fd())
    }
}

impl<F: AsFd> Read for StreamEnd<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, || match self.is_socket {
            true => rustix::net::recv(&*self, &mut *buf, RecvFlags::DONTWAIT).map(|(n, _)| n),
            false => rustix::io::read(&*self, &mut *buf),
        })
    }
}

impl<F: AsFd> Write for StreamEnd<F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, || match self.is_socket {
            true => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let mut nothing = SendAncillaryBuffer::default();
                rustix::net::sendmsg(&*self, bufs, &mut nothing, flags)
            }
            false => rustix::io::writev(&*self, bufs),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::OFlags;
    use std::os::unix::net::UnixStream;

    fn ends() -> Vec<(OwnedFd, OwnedFd)> {
        let (reader, writer) = io::pipe().unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        vec![(reader.into(), writer.into()), (a.into(), b.into())]
    }

    #[test]
    fn bytes_pass_whatever_the_stream_is() {
        for (reader, writer) in ends() {
            let go = Arc::new(AtomicBool::new(false));
            let mut reader = StreamEnd::new(reader, go.clone()).unwrap();
            let mut writer = StreamEnd::new(writer, go).unwrap();
            let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
            let expected = sent.clone();
            let sender = std::thread::spawn(move || writer.write_all(&sent));
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            sender.join().unwrap().unwrap();
            assert!(got == expected);
        }
    }

    #[test]
    fn a_full_or_empty_stream_can_be_left() {
        for (reader, writer) in ends() {
            let stop = Arc::new(AtomicBool::new(false));
            let mut reader = StreamEnd::new(reader, stop.clone()).unwrap();
            let mut writer = StreamEnd::new(writer, stop.clone()).unwrap();
            let writing = std::thread::spawn(move || {
                let error = writer.write_all(&vec![0; 64 << 20]).unwrap_err();
                (error, writer)
            });
            stop.store(true, Ordering::Relaxed);
            let (error, writer) = writing.join().unwrap();
            assert!(error.to_string().contains("cancelled"), "{error}");
            let error = reader.read_exact(&mut [0; 128 << 10]).unwrap_err();
            assert!(error.to_string().contains("cancelled"), "{error}");
            drop(writer);
        }
    }

    #[test]
    fn the_toolstack_s_flags_are_left_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        let theirs = reader.try_clone().unwrap();
        let _ours = StreamEnd::new(reader.into(), Arc::default()).unwrap();
        assert!(
            !rustix::fs::fcntl_getfl(&theirs)
                .unwrap()
                .contains(OFlags::NONBLOCK)
        );
    }
}
