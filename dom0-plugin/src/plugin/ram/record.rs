//! PAGE_DATA records, as `write_batch` in libxc's `xg_sr_save.c` makes them.

use std::io::{self, IoSlice};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::RamError;
use super::{BATCH, PAGE};
use crate::plugin::stream_fd::StreamFd;

/// `REC_TYPE_PAGE_DATA`
const PAGE_DATA: u32 = 1;
/// Bytes before the pages' numbers: record header, count of pages, a reserved word.
const FIXED: usize = 16;

/// Writes records of plain pages.
#[derive(Debug)]
pub struct Records<'s> {
    stream: &'s StreamFd,
    /// Bytes written.
    pub bytes: u64,
}

impl<'s> Records<'s> {
    pub fn new(stream: &'s StreamFd) -> Self {
        Self { stream, bytes: 0 }
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
            match rustix::io::writev(self.stream.borrow(), left) {
                Ok(written) => {
                    self.bytes += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait()?,
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
        let stream = self.stream.borrow();
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
    fn a_record_is_laid_out_as_libxc_s() {
        let (mut reader, writer) = io::pipe().unwrap();
        // SAFETY: open until the end of the test.
        let stream = unsafe { StreamFd::new(writer.as_raw_fd()) };
        let mut records = Records::new(&stream);
        records.write(&[], &[]).unwrap();
        let pages = [[7; PAGE], [9; PAGE]].concat();
        records.write(&[3, 0x10_0000_0001], &pages).unwrap();
        assert_eq!(records.bytes, 8 + 8 + 16 + 8192);
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
