//! Where in libxc's migration stream the reader stands (`docs/specs/libxc-migration-stream.pandoc` in Xen's tree).
//!
//! libxenguest reads the stream in whole pieces: image header, domain header, then each record's header and, unless
//! it is empty, its body with the padding. This follows along, so that it is known exactly which reads are record
//! headers. Any other pattern means a libxenguest that works differently.

use protocol::helper::Header;

/// Bytes of the image header, domain header and record header.
pub const IMAGE_HEADER: usize = 24;
const DOMAIN_HEADER: usize = 16;
pub const RECORD_HEADER: usize = 8;
/// `REC_TYPE_END`
pub const END: u32 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    ImageHeader,
    DomainHeader,
    RecordHeader,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Image,
    Domain,
    Record,
    /// Bytes of the body with its padding.
    Body(u64),
    End,
    /// Not what was expected; nothing is known any more.
    Lost,
}

#[derive(Debug)]
pub struct Position(State);

impl Position {
    /// At the start of a stream.
    pub fn start() -> Self {
        Self(State::Image)
    }

    /// What a read of `size` bytes now reads; `None` when that is not what should come, and from then on.
    pub fn expect(&mut self, size: usize) -> Option<Piece> {
        let (piece, expected) = match self.0 {
            State::Image => (Piece::ImageHeader, IMAGE_HEADER as u64),
            State::Domain => (Piece::DomainHeader, DOMAIN_HEADER as u64),
            State::Record => (Piece::RecordHeader, RECORD_HEADER as u64),
            State::Body(length) => (Piece::Body, length),
            State::End | State::Lost => return None,
        };
        if size as u64 == expected {
            return Some(piece);
        }
        self.0 = State::Lost;
        None
    }

    /// The image header was read.
    pub fn image_header(&mut self, bytes: [u8; IMAGE_HEADER]) {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let marked = bytes[..8] == [0xff; 8];
        let little_endian = bytes[17] & 1 == 0;
        let known =
            marked && word(8) == 0x5845_4e46 && (2..=3).contains(&word(12)) && little_endian;
        self.0 = if known { State::Domain } else { State::Lost };
    }

    /// The domain header or a body was read.
    pub fn passed(&mut self) {
        self.0 = State::Record;
    }

    /// libxenguest was given this record header.
    pub fn record_header(&mut self, header: Header) {
        self.0 = match (header.kind, u64::from(header.length).next_multiple_of(8)) {
            (END, _) => State::End,
            (_, 0) => State::Record,
            (_, length) => State::Body(length),
        };
    }

    /// A read failed.
    pub fn lost(&mut self) {
        self.0 = State::Lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: u32) -> [u8; IMAGE_HEADER] {
        let mut bytes = [0u8; IMAGE_HEADER];
        bytes[..8].fill(0xff);
        bytes[8..12].copy_from_slice(b"XENF");
        bytes[12..16].copy_from_slice(&version.to_be_bytes());
        bytes
    }

    fn at_first_record() -> Position {
        let mut position = Position::start();
        assert_eq!(position.expect(24), Some(Piece::ImageHeader));
        position.image_header(image(3));
        assert_eq!(position.expect(16), Some(Piece::DomainHeader));
        position.passed();
        position
    }

    #[test]
    fn follows_a_stream() {
        let mut position = at_first_record();
        for (length, body) in [(0, None), (13, Some(16)), (8, Some(8))] {
            assert_eq!(position.expect(8), Some(Piece::RecordHeader));
            position.record_header(Header { kind: 1, length });
            if let Some(body) = body {
                assert_eq!(position.expect(body), Some(Piece::Body));
                position.passed();
            }
        }
        assert_eq!(position.expect(8), Some(Piece::RecordHeader));
        position.record_header(Header {
            kind: END,
            length: 0,
        });
        assert_eq!(position.expect(8), None, "what follows END is libxl's");
    }

    #[test]
    fn a_body_of_eight_bytes_is_no_header() {
        let mut position = at_first_record();
        position.expect(8);
        position.record_header(Header { kind: 1, length: 8 });
        assert_eq!(position.expect(8), Some(Piece::Body));
    }

    #[test]
    fn another_pattern_of_reads_is_noticed_for_good() {
        let mut position = at_first_record();
        assert_eq!(position.expect(4), None);
        assert_eq!(position.expect(8), None);
    }

    #[test]
    fn another_format_is_noticed() {
        for bytes in [image(1), image(4), [0; IMAGE_HEADER]] {
            let mut position = Position::start();
            position.expect(24);
            position.image_header(bytes);
            assert_eq!(position.expect(16), None);
        }
    }

    #[test]
    fn the_longest_length_does_not_overflow() {
        let mut position = at_first_record();
        position.expect(8);
        position.record_header(Header {
            kind: 1,
            length: u32::MAX,
        });
        assert_eq!(position.expect(1 << 32), Some(Piece::Body));
    }
}
