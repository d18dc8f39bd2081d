//! An input that knows its offset.

use std::io::{self, BufReader, ErrorKind, Read};

use super::error::{VerifyError, VerifyFault};

/// Reads on and counts.
pub(super) struct Input<R> {
    from: BufReader<R>,
    offset: u64,
}

impl<R: Read> Input<R> {
    pub fn new(from: R) -> Input<R> {
        Input {
            from: BufReader::with_capacity(256 << 10, from),
            offset: 0,
        }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next `N` bytes, which are (part of) `what`.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], VerifyError> {
        let (offset, mut bytes) = (self.offset, [0; N]);
        self.read_exact(&mut bytes)
            .map_err(|error| fault(offset, what, error))?;
        Ok(bytes)
    }

    /// The next `len` bytes; the caller has bounded `len`.
    pub fn bytes(&mut self, len: usize, what: &'static str) -> Result<Vec<u8>, VerifyError> {
        let (offset, mut bytes) = (self.offset, vec![0; len]);
        self.read_exact(&mut bytes)
            .map_err(|error| fault(offset, what, error))?;
        Ok(bytes)
    }

    /// Passes over `len` bytes.
    pub fn skip(&mut self, len: u64, what: &'static str) -> Result<(), VerifyError> {
        let offset = self.offset;
        match io::copy(&mut self.by_ref().take(len), &mut io::sink()) {
            Ok(passed) if passed == len => Ok(()),
            Ok(_) => Err(fault(offset, what, ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(fault(offset, what, error)),
        }
    }

    /// Passes over everything that is left; returns how much that was.
    pub fn drain(&mut self) -> Result<u64, VerifyError> {
        let offset = self.offset;
        io::copy(self, &mut io::sink()).map_err(|error| fault(offset, "the rest", error))
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buf)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn fault(offset: u64, what: &'static str, error: io::Error) -> VerifyError {
    let fault = match error.kind() {
        ErrorKind::UnexpectedEof => VerifyFault::Truncated(what),
        _ => VerifyFault::Io(error),
    };
    VerifyError { offset, fault }
}
