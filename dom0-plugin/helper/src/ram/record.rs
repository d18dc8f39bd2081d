//! PAGE_DATA records, as `write_batch` in libxc's `xg_sr_save.c` makes them.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::error::RamError;
use super::{BATCH, PAGE};
use crate::stream_fd::StreamFd;
use stream::without_blocking;

/// `REC_TYPE_PAGE_DATA`
const PAGE_DATA: u32 = 1;
/// Bytes before the pages' numbers: record header, count of pages, a reserved word.
const FIXED: usize = 16;

/// How to write without blocking to a stream whose flags are the toolstack's: a cancel must be heard while its reader
/// stalls.
#[derive(Debug)]
enum Way {
    /// A socket is asked each time.
    Socket,
    /// A pipe is opened anew.
    Pipe(OwnedFd),
    /// A file does not stall; a pipe without a reader fails.
    Plain,
}

impl Way {
    fn to(stream: &StreamFd) -> Way {
        let mode = rustix::fs::fstat(stream.borrow()).map(|s| s.st_mode);
        match mode.map(FileType::from_raw_mode) {
            Ok(FileType::Socket) => Way::Socket,
            Ok(FileType::Fifo) => without_blocking(stream.borrow()).map_or(Way::Plain, Way::Pipe),
            _ => Way::Plain,
        }
    }
}

/// Writes records of plain pages.
#[derive(Debug)]
pub struct Records<'s> {
    stream: &'s StreamFd,
    way: Way,
    /// Bytes written.
    pub bytes: u64,
}

impl<'s> Records<'s> {
    pub fn new(stream: &'s StreamFd) -> Self {
        Self {
            stream,
            way: Way::to(stream),
            bytes: 0,
        }
    }

    fn transfer(&self, parts: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        match &self.way {
            Way::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                let mut nothing = SendAncillaryBuffer::default();
                rustix::net::sendmsg(self.stream.borrow(), parts, &mut nothing, flags)
            }
            Way::Pipe(own) => rustix::io::writev(own, parts),
            Way::Plain => rustix::io::writev(self.stream.borrow(), parts),
        }
    }

    /// One record: `pages` holds the contents of those numbers, one after the other. None at all for no pages: the
    /// receiver refuses an empty record.
    ///
    /// # Errors
    /// [`RamError::Stream`], [`RamError::Cancelled`]: the record may be there in part.
    pub fn write(&mut self, pfns: &[u64], pages: &[u8]) -> Result<(), RamError> {
        assert!(pfns.len() <= BATCH && pages.len() == pfns.len() * PAGE);
        if pfns.is_empty() {
            return Ok(());
        }
        let head = head(pfns);
        let mut parts = [IoSlice::new(&head), IoSlice::new(pages)];
        let mut left = &mut parts[..];
        while !left.is_empty() {
            if self.stream.cancelled() {
                return Err(RamError::Cancelled);
            }
            match self.transfer(left) {
                Ok(written) => {
                    self.bytes += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait()?,
                Err(_) if self.stream.cancelled() => return Err(RamError::Cancelled),
                Err(e) => return Err(RamError::Stream(e.into())),
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<(), RamError> {
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let stream = match &self.way {
            Way::Pipe(own) => own.as_fd(),
            _ => self.stream.borrow(),
        };
        match poll(&mut [PollFd::new(&stream, PollFlags::OUT)], Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(RamError::Stream(io::Error::from(e))),
        }
    }
}

/// The record up to the contents. A page's type is in the upper half of its number; 0 is that of plain ones.
fn head(pfns: &[u64]) -> Vec<u8> {
    let body = FIXED - 8 + pfns.len() * (8 + PAGE);
    let mut head = Vec::with_capacity(FIXED + 8 * pfns.len());
    for word in [PAGE_DATA, body as u32, pfns.len() as u32, 0] {
        head.extend_from_slice(&word.to_ne_bytes());
    }
    head.extend(pfns.iter().flat_map(|pfn| pfn.to_ne_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_cancel_is_heard_while_the_stream_stalls() {
        let (_reader, pipe) = io::pipe().unwrap();
        let (_peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        for end in [OwnedFd::from(pipe), OwnedFd::from(socket)] {
            // SAFETY: open until the end of the test.
            let stream = unsafe { StreamFd::new(end.as_raw_fd()) };
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| {
                    let mut records = Records::new(&stream);
                    let pages = vec![7; PAGE * BATCH];
                    let pfns = vec![1; BATCH];
                    loop {
                        if let Err(e) = records.write(&pfns, &pages) {
                            return e;
                        }
                    }
                });
                // Whether it waits by now or not: it ends.
                std::thread::sleep(std::time::Duration::from_millis(50));
                let null = std::fs::File::open("/dev/null").unwrap();
                // SAFETY: both are open.
                unsafe { libc::dup2(null.as_raw_fd(), end.as_raw_fd()) };
                let error = writing.join().unwrap();
                assert!(matches!(error, RamError::Cancelled), "{error}");
            });
        }
    }

    #[test]
    fn a_record_is_laid_out_as_libxc_s() {
        let (mut reader, writer) = io::pipe().unwrap();
        // SAFETY: open until the end of the test.
        let stream = unsafe { StreamFd::new(writer.as_raw_fd()) };
        let mut records = Records::new(&stream);
        records.write(&[], &[]).unwrap();
        let pages = [[7; PAGE], [9; PAGE]].concat();
        records.write(&[3, 0x10_0000_0001], &pages).unwrap();
        assert_eq!(records.bytes, 8 + 8 + 16 + 8192);
        // It may have opened the pipe anew.
        drop(records);
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes[..8], [1, 0, 0, 0, 24, 0x20, 0, 0]); // 0x2018 bytes: a multiple of 8
        assert_eq!(bytes[8..16], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            bytes[16..32],
            [3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0]
        );
        assert_eq!(bytes[32..], pages);
    }
}
