//! The end of a migration stream that the plugin handed over, with a way out of a wait.
//!
//! The helper may die while its stream is full or empty for good. Its descriptor blocks as the toolstack left it, and
//! its status flags are the toolstack's too; so a pipe is opened anew, without blocking, and a socket is asked each
//! time not to.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stream::without_blocking;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

/// How often a wait looks whether it has been called off.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Socket,
    Other,
}

/// A stream to write to or read from until it is called off.
#[derive(Debug)]
pub struct StreamEnd {
    fd: OwnedFd,
    kind: Kind,
    cancelled: Arc<AtomicBool>,
}

impl StreamEnd {
    /// Takes the stream; waits end with an error once `cancelled` is set.
    pub fn new(fd: OwnedFd, cancelled: Arc<AtomicBool>) -> io::Result<Self> {
        let (fd, kind) = match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::Socket => (fd, Kind::Socket),
            FileType::Fifo => (without_blocking(fd.as_fd())?, Kind::Other),
            _ => (fd, Kind::Other),
        };
        Ok(StreamEnd {
            fd,
            kind,
            cancelled,
        })
    }

    fn retry(
        &self,
        events: PollFlags,
        mut transfer: impl FnMut() -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(io::Error::other("the operation was cancelled"));
            }
            match transfer() {
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::new(&self.fd, events)], Some(&TICK)) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl Read for StreamEnd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, || match self.kind {
            Kind::Socket => {
                rustix::net::recv(self.fd.as_fd(), &mut *buf, RecvFlags::DONTWAIT).map(|(n, _)| n)
            }
            Kind::Other => rustix::io::read(&self.fd, &mut *buf),
        })
    }
}

impl Write for StreamEnd {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.retry(PollFlags::OUT, || match self.kind {
            Kind::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let mut nothing = SendAncillaryBuffer::default();
                rustix::net::sendmsg(&self.fd, bufs, &mut nothing, flags)
            }
            Kind::Other => rustix::io::writev(&self.fd, bufs),
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
