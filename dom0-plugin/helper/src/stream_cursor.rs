//! Where in libxc's migration stream the reader stands (`docs/specs/libxc-migration-stream.pandoc` in Xen's tree).
//!
//! libxenguest reads the stream in whole pieces: image header, domain header, then each record's header and, unless
//! it is empty, its body with the padding. This follows along, so that it is known exactly which reads are record
//! headers. Any other pattern means a libxenguest that works differently.

use stream::libxc::{DOMAIN_HEADER_BYTES, END, IMAGE_HEADER_BYTES, RecordHeader, image_version};

/// What libxenguest reads at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
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
pub struct StreamCursor(State);

impl StreamCursor {
    /// At the start of a stream.
    pub fn start() -> Self {
        Self(State::Image)
    }

    /// What a read of `size` bytes now reads; `None` when that is not what should come, and from then on.
    pub fn expect(&mut self, size: usize) -> Option<Part> {
        let (part, expected) = match self.0 {
            State::Image => (Part::ImageHeader, IMAGE_HEADER_BYTES as u64),
            State::Domain => (Part::DomainHeader, DOMAIN_HEADER_BYTES as u64),
            State::Record => (Part::RecordHeader, RecordHeader::BYTES as u64),
            State::Body(length) => (Part::Body, length),
            State::End | State::Lost => return None,
        };
        if size as u64 == expected {
            return Some(part);
        }
        self.0 = State::Lost;
        None
    }

    /// The image header was read.
    pub fn image_header(&mut self, bytes: [u8; IMAGE_HEADER_BYTES]) {
        self.0 = match image_version(&bytes) {
            Ok(_) => State::Domain,
            Err(_) => State::Lost,
        };
    }

    /// The domain header or a body was read.
    pub fn passed(&mut self) {
        self.0 = State::Record;
    }

    /// libxenguest was given this record header.
    pub fn record_header(&mut self, header: RecordHeader) {
        self.0 = match (header.record_type, header.padded_length()) {
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

    fn image(version: u32) -> [u8; IMAGE_HEADER_BYTES] {
        let mut bytes = [0u8; IMAGE_HEADER_BYTES];
        bytes[..8].fill(0xff);
        bytes[8..12].copy_from_slice(b"XENF");
        bytes[12..16].copy_from_slice(&version.to_be_bytes());
        bytes
    }

    fn at_first_record() -> StreamCursor {
        let mut cursor = StreamCursor::start();
        assert_eq!(cursor.expect(24), Some(Part::ImageHeader));
        cursor.image_header(image(3));
        assert_eq!(cursor.expect(16), Some(Part::DomainHeader));
        cursor.passed();
        cursor
    }

    #[test]
    fn follows_a_stream() {
        let mut cursor = at_first_record();
        for (length, body) in [(0, None), (13, Some(16)), (8, Some(8))] {
            assert_eq!(cursor.expect(8), Some(Part::RecordHeader));
            cursor.record_header(RecordHeader {
                record_type: 1,
                length,
            });
            if let Some(body) = body {
                assert_eq!(cursor.expect(body), Some(Part::Body));
                cursor.passed();
            }
        }
        assert_eq!(cursor.expect(8), Some(Part::RecordHeader));
        cursor.record_header(RecordHeader {
            record_type: END,
            length: 0,
        });
        assert_eq!(cursor.expect(8), None, "what follows END is libxl's");
    }

    #[test]
    fn a_body_of_eight_bytes_is_no_header() {
        let mut cursor = at_first_record();
        cursor.expect(8);
        cursor.record_header(RecordHeader {
            record_type: 1,
            length: 8,
        });
        assert_eq!(cursor.expect(8), Some(Part::Body));
    }

    #[test]
    fn another_pattern_of_reads_is_noticed_for_good() {
        let mut cursor = at_first_record();
        assert_eq!(cursor.expect(4), None);
        assert_eq!(cursor.expect(8), None);
    }

    #[test]
    fn another_format_is_noticed() {
        for bytes in [image(1), image(4), [0; IMAGE_HEADER_BYTES]] {
            let mut cursor = StreamCursor::start();
            cursor.expect(24);
            cursor.image_header(bytes);
            assert_eq!(cursor.expect(16), None);
        }
    }

    #[test]
    fn the_longest_length_does_not_overflow() {
        let mut cursor = at_first_record();
        cursor.expect(8);
        cursor.record_header(RecordHeader {
            record_type: 1,
            length: u32::MAX,
        });
        assert_eq!(cursor.expect(1 << 32), Some(Part::Body));
    }
}
