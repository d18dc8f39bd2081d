//! libxc's migration stream, as far as we look into it.
//!
//! Source in Xen's tree: `docs/specs/libxc-migration-stream.pandoc`, `tools/libs/guest/xg_sr_stream_format.h`.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use thiserror::Error;

/// Octets of the image header, which opens the stream.
pub const IMAGE_HEADER_BYTES: usize = 24;
/// Octets of the domain header, which follows it.
pub const DOMAIN_HEADER_BYTES: usize = 16;
/// First octets of the image header.
pub const MARKER: [u8; 8] = [0xFF; 8];
/// `XENF`
const IMAGE_ID: u32 = 0x5845_4E46;
const VERSIONS: RangeInclusive<u32> = 2..=3;
const BIG_ENDIAN: u8 = 1 << 0;

/// `REC_TYPE_END`
pub const END: u32 = 0;
/// `REC_TYPE_PAGE_DATA`
pub const PAGE_DATA: u32 = 1;
/// `REC_TYPE_CHECKPOINT`: only in Remus and COLO streams.
pub const CHECKPOINT: u32 = 0xE;
/// `REC_TYPE_OPTIONAL`: a receiver that does not know the type may pass the record over.
pub const OPTIONAL: u32 = 1 << 31;
/// `REC_LENGTH_MAX`, in bytes.
pub const RECORD_MAX: u32 = 128 << 20;
/// Bodies are padded to a multiple of so many octets.
pub const ALIGN: usize = 8;

/// Header of a record, `struct xc_sr_rhdr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordHeader {
    /// Type; with [`OPTIONAL`] or without.
    #[serde(rename = "type")]
    pub record_type: u32,
    /// Length of the body without padding, in bytes.
    pub length: u32,
}

impl RecordHeader {
    /// Octets of a header.
    pub const BYTES: usize = 8;

    /// The header of `bytes`.
    pub fn from_bytes(bytes: [u8; 8]) -> RecordHeader {
        let [a, b, c, d, e, f, g, h] = bytes;
        RecordHeader {
            record_type: u32::from_le_bytes([a, b, c, d]),
            length: u32::from_le_bytes([e, f, g, h]),
        }
    }

    /// The header's octets.
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.record_type.to_le_bytes());
        bytes[4..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Length of the body with its padding, in bytes.
    pub const fn padded_length(&self) -> u64 {
        (self.length as u64).next_multiple_of(ALIGN as u64)
    }
}

/// An image or domain header that is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ImageError {
    #[error("marker {0:02x?}")]
    Marker([u8; 8]),
    #[error("id {0:#010x}")]
    Id(u32),
    #[error("version {0}")]
    Version(u32),
    #[error("big-endian")]
    BigEndian,
    #[error("domain type {0:#x}")]
    DomainType(u32),
}

/// Checks the image header; gives the version.
pub fn image_version(header: &[u8; IMAGE_HEADER_BYTES]) -> Result<u32, ImageError> {
    let [
        m @ ..,
        i0,
        i1,
        i2,
        i3,
        v0,
        v1,
        v2,
        v3,
        _,
        options,
        _,
        _,
        _,
        _,
        _,
        _,
    ] = *header;
    let (id, version) = (
        u32::from_be_bytes([i0, i1, i2, i3]),
        u32::from_be_bytes([v0, v1, v2, v3]),
    );
    match () {
        _ if m != MARKER => Err(ImageError::Marker(m)),
        _ if id != IMAGE_ID => Err(ImageError::Id(id)),
        _ if !VERSIONS.contains(&version) => Err(ImageError::Version(version)),
        _ if options & BIG_ENDIAN != 0 => Err(ImageError::BigEndian),
        _ => Ok(version),
    }
}
