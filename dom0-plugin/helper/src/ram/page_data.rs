//! PAGE_DATA records, as `write_batch` in libxc's `xg_sr_save.c` makes them.

use std::io::{IoSlice, Write};

use super::error::RamError;
use super::page::{BATCH, PAGE};
use crate::stream_fd::StreamFd;
use stream::libxc::PAGE_DATA;
use stream::{RecordHeader, StreamEnd};

/// Bytes of the body before the pages' numbers: count of pages, a reserved word.
const FIXED: usize = 8;

/// Writes records of plain pages, and hears of a cancel while the stream's reader stalls.
#[derive(Debug)]
pub struct PageRecords {
    stream: StreamFd,
    to: StreamEnd<StreamFd>,
    /// Bytes written.
    pub bytes: u64,
}

impl PageRecords {
    /// # Errors
    /// [`RamError::Reopen`]
    pub fn new(stream: StreamFd) -> Result<Self, RamError> {
        let to = StreamEnd::cancelled_by(stream, move || stream.cancelled());
        Ok(Self {
            stream,
            to: to.map_err(RamError::Reopen)?,
            bytes: 0,
        })
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
            match self.to.write_vectored(left) {
                Ok(written) => {
                    self.bytes += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(_) if self.stream.cancelled() => return Err(RamError::Cancelled),
                Err(e) => return Err(RamError::Stream(e)),
            }
        }
        Ok(())
    }
}

/// The record up to the contents. A page's type is in the upper half of its number; 0 is that of plain ones.
fn head(pfns: &[u64]) -> Vec<u8> {
    let header = RecordHeader {
        record_type: PAGE_DATA,
        length: (FIXED + pfns.len() * (8 + PAGE)) as u32,
    };
    let mut head = Vec::with_capacity(RecordHeader::BYTES + FIXED + 8 * pfns.len());
    head.extend_from_slice(&header.to_bytes());
    for word in [pfns.len() as u32, 0] {
        head.extend_from_slice(&word.to_ne_bytes());
    }
    head.extend(pfns.iter().flat_map(|pfn| pfn.to_ne_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Read};
    use std::os::fd::{AsRawFd, OwnedFd};

    #[test]
    fn a_cancel_is_heard_while_the_stream_stalls() {
        let (_reader, pipe) = io::pipe().unwrap();
        let (_peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        for end in [OwnedFd::from(pipe), OwnedFd::from(socket)] {
            // SAFETY: open until the end of the test.
            let stream = unsafe { StreamFd::new(end.as_raw_fd()) };
            std::thread::scope(|scope| {
                let writing = scope.spawn(|| {
                    let mut records = PageRecords::new(stream).unwrap();
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
        let mut records = PageRecords::new(stream).unwrap();
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
