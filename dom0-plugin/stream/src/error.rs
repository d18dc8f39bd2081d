//! What can go wrong with a stream, and where.

use std::fmt;
use std::io;

use channel::image::{BatchError, Digest, SessionKey};
use thiserror::Error;

use super::wire::{MAX_EXTENTS, MAX_PAYLOAD, MAX_SESSIONS, STREAM_VERSION, type_name};

/// A record that was refused, with its place.
#[derive(Debug, Error)]
#[error("GPU record {record} ({}) at byte {offset} of the stream: {error}", type_name(*.record_type))]
pub struct StreamError {
    /// Counts from 1: the n-th GPU record of the stream.
    pub record: u64,
    /// Type as found in the header (0 where none was expected: end of stream).
    pub record_type: u32,
    /// Where the record's header starts, in bytes from where the reader was told it stands.
    pub offset: u64,
    /// What is wrong.
    pub error: RecordError,
}

/// Why a record was refused.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("the stream ends in the middle of the record")]
    Truncated,
    #[error("cannot read: {0}")]
    Io(io::Error),
    #[error("type {0:#010x} is not known to this version")]
    UnknownType(u32),
    #[error("a body of {found} bytes does not fit its fields, which need {needed}")]
    Length { found: u32, needed: u64 },
    #[error("not a GPU stream header: magic {0:02x?}")]
    Magic([u8; 8]),
    #[error("stream version {0}, this program knows {STREAM_VERSION}; update xl-gpu on this host")]
    Version(u32),
    #[error("{0} sessions, at most {MAX_SESSIONS} and at least 1 allowed")]
    SessionCount(u32),
    #[error("session {0} is announced twice")]
    DuplicateSession(SessionKey),
    #[error(
        "{extents} extents and {payload} payload bytes, at most {MAX_EXTENTS} and {MAX_PAYLOAD} allowed"
    )]
    DataTooLarge { extents: u32, payload: u32 },
    #[error("a reserved field is not zero")]
    Reserved,
    #[error("checksum is {found}, its contents give {computed}: corrupted on the way")]
    Checksum { found: Digest, computed: Digest },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("{payload} payload bytes, its extents use {used}")]
    PayloadLength { payload: usize, used: usize },
    #[error("comes before HEAD")]
    BeforeHead,
    #[error("a second HEAD")]
    SecondHead,
    #[error("comes after SEAL")]
    AfterSeal,
    #[error("the stream ends without SEAL: its GPU state is incomplete")]
    NotSealed,
    #[error("an earlier record was refused")]
    Failed,
    #[error("session {0} was not announced in HEAD")]
    UnknownSession(SessionKey),
    #[error("{field} differs: sealed {sealed}, received {received}")]
    Seal {
        field: SealField,
        sealed: String,
        received: String,
    },
    #[error("cannot keep it: {0}")]
    Sink(Box<dyn std::error::Error + Send + Sync>),
}

/// What a seal states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealField {
    ImageId,
    RecordCount,
    PayloadBytes,
    Digest,
    Sessions,
    Objects(SessionKey),
    Bytes(SessionKey),
}

impl fmt::Display for SealField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealField::ImageId => f.write_str("image id"),
            SealField::RecordCount => f.write_str("number of DATA records"),
            SealField::PayloadBytes => f.write_str("number of payload bytes"),
            SealField::Digest => f.write_str("stream digest"),
            SealField::Sessions => f.write_str("list of sessions"),
            SealField::Objects(key) => write!(f, "number of objects of session {key}"),
            SealField::Bytes(key) => write!(f, "number of bytes of session {key}"),
        }
    }
}

/// A record that was not written whole.
#[derive(Debug, Error)]
#[error("writing GPU record {record} ({}), {written} of {length} bytes done: {cause}", type_name(*.record_type))]
pub struct WriteError {
    /// Counts from 1.
    pub record: u64,
    /// Which kind of record it was.
    pub record_type: u32,
    /// Bytes of it that are in the stream, header included. Unless 0 the stream is torn: it ends in the
    /// middle of a record, and whoever owns it must fail the save.
    pub written: u64,
    /// Bytes it has in all.
    pub length: u64,
    /// What stopped it.
    pub cause: WriteCause,
}

impl WriteError {
    /// Whether the stream still ends between two records.
    pub fn at_boundary(&self) -> bool {
        self.written == 0 && !matches!(self.cause, WriteCause::Torn)
    }
}

/// Why a record was not written.
#[derive(Debug, Error)]
pub enum WriteCause {
    #[error(
        "the receiver has gone; if it gave a reason, that is in xl's output and in the log of xl-gpud there"
    )]
    Disconnected,
    #[error("the stream was closed here: the save was cancelled")]
    Cancelled,
    #[error("no space left where the stream is saved")]
    NoSpace,
    #[error("{0}")]
    Io(io::Error),
    #[error("the stream was torn by an earlier failure")]
    Torn,
    #[error("{extents} extents and {payload} payload bytes do not fit one record")]
    TooLarge { extents: usize, payload: usize },
    #[error("session {0} was not announced in HEAD")]
    UnknownSession(SessionKey),
    #[error("{0} sessions do not fit one stream, or one of them is named twice")]
    Sessions(usize),
}
