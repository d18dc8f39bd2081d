//! The table entry of a batch: one run of bytes of one object.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::digest::Digest;

/// Octets of one table entry.
pub const EXTENT_BYTES: usize = size_of::<RawExtent>();

/// Each data extent's bytes start at a multiple of this within the payload.
pub const PAYLOAD_ALIGN: usize = 8;

/// Where the next data extent's bytes start in a payload of which `used` bytes are taken.
pub const fn payload_start(used: usize) -> usize {
    used.next_multiple_of(PAYLOAD_ALIGN)
}

const _: () = assert!(EXTENT_BYTES == 48);

/// A table entry as it stands on the wire; nothing about it has been checked.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawExtent {
    pub object: U64,
    pub object_size: U64,
    pub offset: U64,
    pub len: U32,
    pub kind: U32,
    pub digest: [u8; 16],
}

/// What an extent says about its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum ExtentKind {
    /// The bytes are in the payload.
    Data = 0,
    /// The bytes are all zero and not in the payload.
    Zero = 1,
    /// The object is gone; its size, offset and length are zero here.
    Drop = 2,
    /// The bytes stand elsewhere in the same image; the payload has the [`CopySource`]. In streams only.
    Copy = 3,
}

impl ExtentKind {
    /// The kind of a wire value, `None` where this version knows none.
    pub const fn from_wire(value: u32) -> Option<ExtentKind> {
        match value {
            0 => Some(ExtentKind::Data),
            1 => Some(ExtentKind::Zero),
            2 => Some(ExtentKind::Drop),
            3 => Some(ExtentKind::Copy),
            _ => None,
        }
    }
}

/// Where the bytes of a copy extent stand before it is applied; its 16 octets are the extent's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopySource {
    /// An object of the same image, not the manifest.
    pub object: u64,
    /// Where in it the bytes start.
    pub offset: u64,
}

impl CopySource {
    /// Octets of a source.
    pub const BYTES: usize = 16;

    /// The source in a copy extent's payload; `None` if that has another length.
    pub fn from_payload(bytes: &[u8]) -> Option<CopySource> {
        let (words, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let [object, offset] = words else {
            return None;
        };
        Some(CopySource {
            object: u64::from_le_bytes(*object),
            offset: u64::from_le_bytes(*offset),
        })
    }

    /// The octets for the payload.
    pub fn to_payload(self) -> [u8; CopySource::BYTES] {
        let mut bytes = [0; CopySource::BYTES];
        bytes[..8].copy_from_slice(&self.object.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }
}

/// A run of bytes of one object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The object's number within its session; 0 is the manifest.
    pub object: u64,
    /// Size of the whole object, in bytes.
    pub object_size: u64,
    /// Where in the object the run starts, in bytes.
    pub offset: u64,
    /// Length of the run, in bytes.
    pub len: u32,
    /// Where the run's bytes are.
    pub kind: ExtentKind,
    /// Digest of the run's bytes for [`ExtentKind::Data`] and [`ExtentKind::Copy`], else [`Digest::NONE`].
    pub digest: Digest,
}

impl Extent {
    /// A run whose bytes are in the payload.
    pub const fn data(
        object: u64,
        object_size: u64,
        offset: u64,
        len: u32,
        digest: Digest,
    ) -> Self {
        Extent {
            object,
            object_size,
            offset,
            len,
            kind: ExtentKind::Data,
            digest,
        }
    }

    /// A run whose bytes stand elsewhere in the image.
    pub const fn copy(
        object: u64,
        object_size: u64,
        offset: u64,
        len: u32,
        digest: Digest,
    ) -> Self {
        Extent {
            kind: ExtentKind::Copy,
            ..Self::data(object, object_size, offset, len, digest)
        }
    }

    /// A run of zeros.
    pub const fn zero(object: u64, object_size: u64, offset: u64, len: u32) -> Self {
        Extent {
            object,
            object_size,
            offset,
            len,
            kind: ExtentKind::Zero,
            digest: Digest::NONE,
        }
    }

    /// The end of an object.
    pub const fn drop_object(object: u64) -> Self {
        let (object_size, offset, len) = (0, 0, 0);
        Extent {
            object,
            object_size,
            offset,
            len,
            kind: ExtentKind::Drop,
            digest: Digest::NONE,
        }
    }

    /// Bytes this extent takes in the payload.
    pub const fn payload_bytes(&self) -> usize {
        match self.kind {
            ExtentKind::Data => self.len as usize,
            ExtentKind::Copy => CopySource::BYTES,
            ExtentKind::Zero | ExtentKind::Drop => 0,
        }
    }

    /// The entry for the wire.
    pub fn to_wire(&self) -> RawExtent {
        RawExtent {
            object: self.object.into(),
            object_size: self.object_size.into(),
            offset: self.offset.into(),
            len: self.len.into(),
            kind: (self.kind as u32).into(),
            digest: self.digest.to_bytes(),
        }
    }
}
