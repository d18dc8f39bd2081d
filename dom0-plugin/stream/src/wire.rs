//! Octets of the records; see `docs/stream-format.md` for the diagrams.

use std::fmt;
use std::io::{self, Read};

use channel::image::{BatchLimits, Digest, DigestStream, SessionId, SessionKey};
use serde::{Serialize, Serializer};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First GPU record. Mandatory: a receiver that does not know it has to refuse the stream.
pub const TYPE_HEAD: u32 = 0x4750_5500;
/// A batch. Optional (bit 31), as HEAD already decided who may receive it.
pub const TYPE_DATA: u32 = 0xC750_5501;
/// Last GPU record: totals and digest. Optional (bit 31).
pub const TYPE_SEAL: u32 = 0xC750_5502;

/// Version of the records, in HEAD.
pub const STREAM_VERSION: u32 = 1;
/// The round number of a stop-and-copy.
pub const STOP_ROUND: u32 = channel::message::STOP_ROUND;
/// Most payload bytes in a DATA record.
pub const MAX_PAYLOAD: usize = 4 << 20;
/// Most extents in a DATA record.
pub const MAX_EXTENTS: usize = 4096;
/// Most sessions in a stream: as many as of a domain are looked at. Each costs the receiver open files.
pub const MAX_SESSIONS: usize = 64;

/// Number of the object that tells the receiver something at the head of a stream; dropped by the record after it.
pub const NOTICE_OBJECT: u64 = u64::MAX;

pub(super) const MAGIC: [u8; 8] = *b"XLGPUSTM";
/// The checksum that ends a DATA body.
pub(super) const CHECKSUM_BYTES: usize = 16;

/// Whether a libxc record type is one of ours, of this version or another.
pub const fn is_gpu_type(record_type: u32) -> bool {
    record_type & 0x7FFF_FF00 == TYPE_HEAD
}

/// The name of one of our record types.
pub(super) const fn type_name(record_type: u32) -> &'static str {
    match record_type {
        TYPE_HEAD => "HEAD",
        TYPE_DATA => "DATA",
        TYPE_SEAL => "SEAL",
        _ => "unknown",
    }
}

/// Random name of one stream's GPU part: HEAD and SEAL must carry the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageId(pub [u8; 16]);

impl ImageId {
    /// A fresh one from the kernel's random numbers.
    pub fn random() -> io::Result<ImageId> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(ImageId(bytes))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for ImageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one session's image holds once complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    /// Objects that exist, the manifest among them.
    pub objects: u64,
    /// Sum of their sizes, in bytes.
    pub bytes: u64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHead {
    pub magic: [u8; 8],
    pub version: U32,
    pub session_count: U32,
    pub image_id: [u8; 16],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawKey {
    pub session: [u8; 16],
    pub generation: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawData {
    pub key: RawKey,
    pub round: U32,
    pub extent_count: U32,
    pub payload_len: U32,
    pub reserved: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawSeal {
    pub image_id: [u8; 16],
    pub record_count: U64,
    pub payload_bytes: U64,
    pub digest: [u8; 16],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawTotals {
    pub key: RawKey,
    pub objects: U64,
    pub bytes: U64,
}

impl RawKey {
    pub fn new(key: &SessionKey) -> RawKey {
        RawKey {
            session: key.session.0,
            generation: key.generation.into(),
        }
    }

    pub fn key(&self) -> SessionKey {
        SessionKey {
            session: SessionId(self.session),
            generation: self.generation.get(),
        }
    }
}

/// Batch limits that match the bounds of a DATA record.
pub(super) fn batch_limits(max_object_bytes: u64) -> BatchLimits {
    BatchLimits {
        max_object_bytes,
        max_extents: MAX_EXTENTS,
        max_data_bytes: MAX_PAYLOAD as u32,
        copies: true,
    }
}

/// Digest of all DATA records' checksums as it grows. Boxed: the hash state is large.
pub(super) struct StreamDigest(Box<DigestStream>);

impl StreamDigest {
    pub fn new() -> StreamDigest {
        StreamDigest(Box::default())
    }

    pub fn add(&mut self, checksum: &[u8; CHECKSUM_BYTES]) {
        self.0.update(checksum);
    }

    pub fn digest(&self) -> Digest {
        self.0.digest()
    }
}

impl std::fmt::Debug for StreamDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.digest())
    }
}
