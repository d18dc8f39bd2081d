//! Reading single GPU records from an untrusted stream.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};

use channel::image::{Batch, Digest, EXTENT_BYTES, SessionKey};
use zerocopy::FromBytes;

use super::error::{RecordError, StreamError};
use super::libxc::{ALIGN, RecordHeader};
use super::wire::{
    CHECKSUM_BYTES, ImageId, MAGIC, MAX_EXTENTS, MAX_PAYLOAD, MAX_SESSIONS, RawData, RawHead,
    RawKey, RawSeal, RawTotals, STREAM_VERSION, TYPE_DATA, TYPE_HEAD, TYPE_SEAL, Totals,
    batch_limits, is_gpu_type,
};

/// Bounds a receiver sets beyond those of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamLimits {
    /// Largest object, in bytes.
    pub max_object_bytes: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            max_object_bytes: 1 << 40,
        }
    }
}

/// A record whose own fields are right.
#[derive(Debug)]
pub enum Record<'a> {
    Head(Head),
    Data(Data<'a>),
    Seal(Seal),
}

/// HEAD: opens the GPU part of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Format version.
    pub version: u32,
    /// Must come back in SEAL.
    pub image_id: ImageId,
    /// Sessions that DATA may name; not empty, none twice.
    pub sessions: Vec<SessionKey>,
}

/// DATA: a batch of one session. Checksum and every extent's digest have been verified.
#[derive(Debug)]
pub struct Data<'a> {
    /// The image the batch belongs to.
    pub key: SessionKey,
    /// Pre-copy round, or [`super::STOP_ROUND`].
    pub round: u32,
    /// The batch.
    pub batch: Batch<'a>,
    /// The record's checksum, an item of the seal's stream digest.
    pub checksum: Digest,
}

/// SEAL: what the sender says it has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seal {
    /// As in HEAD.
    pub image_id: ImageId,
    /// DATA records.
    pub record_count: u64,
    /// Their payload, in bytes.
    pub payload_bytes: u64,
    /// Digest of the concatenated checksums of all DATA records.
    pub digest: Digest,
    /// Totals by session, in HEAD's order.
    pub sessions: Vec<(SessionKey, Totals)>,
}

/// Reads record after record, and knows where it stands for the sake of error messages.
#[derive(Debug)]
pub struct RecordReader {
    limits: StreamLimits,
    body: Vec<u8>,
    record: u64,
    record_type: u32,
    start: u64,
    offset: u64,
}

impl RecordReader {
    /// A reader at byte 0 that has seen no record.
    pub fn new(limits: StreamLimits) -> RecordReader {
        RecordReader {
            limits,
            body: Vec::new(),
            record: 0,
            record_type: 0,
            start: 0,
            offset: 0,
        }
    }

    /// Says where in the stream the next byte to read is, for callers that read other parts themselves.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// The byte of the stream the reader stands at.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads one record header, of whatever kind.
    pub fn read_header(&mut self, from: &mut impl Read) -> Result<RecordHeader, StreamError> {
        self.start = self.offset;
        self.record_type = 0;
        let mut bytes = [0; RecordHeader::BYTES];
        from.read_exact(&mut bytes)
            .map_err(|error| self.refuse(read_error(error)))?;
        self.offset += RecordHeader::BYTES as u64;
        Ok(RecordHeader::from_bytes(bytes))
    }

    /// Reads and checks the body of a GPU record. The stream stands right after `header`.
    ///
    /// At most the 4.2 MiB that the largest record needs are allocated, whatever the header says.
    pub fn read_body(
        &mut self,
        from: &mut impl Read,
        header: RecordHeader,
    ) -> Result<Record<'_>, StreamError> {
        let RecordHeader {
            record_type,
            length,
        } = header;
        self.record += 1;
        self.record_type = record_type;
        self.start = self.offset.saturating_sub(RecordHeader::BYTES as u64);
        let needed = match record_type {
            TYPE_HEAD => (size_of::<RawHead>() + MAX_SESSIONS * size_of::<RawKey>()) as u64,
            TYPE_DATA => data_bytes(MAX_EXTENTS as u32, MAX_PAYLOAD as u32),
            TYPE_SEAL => (size_of::<RawSeal>() + MAX_SESSIONS * size_of::<RawTotals>()) as u64,
            other => return Err(self.refuse(RecordError::UnknownType(other))),
        };
        if u64::from(length) > needed || !length.is_multiple_of(ALIGN as u32) {
            return Err(self.refuse(RecordError::Length {
                found: length,
                needed,
            }));
        }
        self.body.resize(length as usize, 0);
        from.read_exact(&mut self.body)
            .map_err(|error| self.refuse(read_error(error)))?;
        self.offset += u64::from(length);

        let parsed = match record_type {
            TYPE_HEAD => head(&self.body).map(Record::Head),
            TYPE_DATA => data(&self.body, self.limits.max_object_bytes).map(Record::Data),
            _ => seal(&self.body).map(Record::Seal),
        };
        let (record, start) = (self.record, self.start);
        parsed.map_err(|error| StreamError {
            record,
            record_type,
            offset: start,
            error,
        })
    }

    /// An error about the record last read.
    pub fn refuse(&self, error: RecordError) -> StreamError {
        let (record, record_type, offset) = (self.record.max(1), self.record_type, self.start);
        StreamError {
            record,
            record_type,
            offset,
            error,
        }
    }

    /// Whether `header` belongs to a GPU record, of this version or another.
    pub fn is_ours(header: RecordHeader) -> bool {
        is_gpu_type(header.record_type)
    }
}

fn read_error(error: std::io::Error) -> RecordError {
    match error.kind() {
        ErrorKind::UnexpectedEof => RecordError::Truncated,
        _ => RecordError::Io(error),
    }
}

/// Splits a fixed part off; `needed` is told in the error.
fn fixed<T>(body: &[u8]) -> Result<(&T, &[u8]), RecordError>
where
    T: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout + zerocopy::Unaligned,
{
    T::ref_from_prefix(body).map_err(|_| RecordError::Length {
        found: body.len() as u32,
        needed: size_of::<T>() as u64,
    })
}

fn exact_length(body: &[u8], needed: u64) -> Result<(), RecordError> {
    match body.len() as u64 == needed {
        true => Ok(()),
        false => Err(RecordError::Length {
            found: body.len() as u32,
            needed,
        }),
    }
}

fn head(body: &[u8]) -> Result<Head, RecordError> {
    let (raw, rest) = fixed::<RawHead>(body)?;
    if raw.magic != MAGIC {
        return Err(RecordError::Magic(raw.magic));
    }
    if raw.version.get() != STREAM_VERSION {
        return Err(RecordError::Version(raw.version.get()));
    }
    let count = raw.session_count.get();
    if count == 0 || count as usize > MAX_SESSIONS {
        return Err(RecordError::SessionCount(count));
    }
    exact_length(
        body,
        (size_of::<RawHead>() + count as usize * size_of::<RawKey>()) as u64,
    )?;
    let (keys, _) = rest.as_chunks::<{ size_of::<RawKey>() }>();
    let mut seen = HashSet::with_capacity(keys.len());
    let mut sessions = Vec::with_capacity(keys.len());
    for bytes in keys {
        let key = fixed::<RawKey>(bytes)?.0.key();
        // One generation of a session is enough: the session is one program, in one state.
        if !seen.insert(key.session) {
            return Err(RecordError::DuplicateSession(key));
        }
        sessions.push(key);
    }
    Ok(Head {
        version: STREAM_VERSION,
        image_id: ImageId(raw.image_id),
        sessions,
    })
}

/// Length of a DATA body, in bytes; cannot overflow.
const fn data_bytes(extents: u32, payload: u32) -> u64 {
    size_of::<RawData>() as u64
        + (payload as u64).next_multiple_of(ALIGN as u64)
        + extents as u64 * EXTENT_BYTES as u64
        + CHECKSUM_BYTES as u64
}

fn data(body: &[u8], max_object_bytes: u64) -> Result<Data<'_>, RecordError> {
    let (raw, rest) = fixed::<RawData>(body)?;
    let (extents, payload) = (raw.extent_count.get(), raw.payload_len.get());
    if extents as usize > MAX_EXTENTS || payload as usize > MAX_PAYLOAD {
        return Err(RecordError::DataTooLarge { extents, payload });
    }
    exact_length(body, data_bytes(extents, payload))?;

    let (covered, checksum) = body.split_at(body.len() - CHECKSUM_BYTES);
    let found = Digest::from_bytes(checksum.try_into().expect("16 bytes were split off"));
    let computed = Digest::of(covered);
    if found != computed {
        return Err(RecordError::Checksum { found, computed });
    }
    if raw.reserved.get() != 0 {
        return Err(RecordError::Reserved);
    }
    let rest = &rest[..rest.len() - CHECKSUM_BYTES];
    let (padded, table) = rest.split_at((payload as usize).next_multiple_of(ALIGN));
    let payload = &padded[..payload as usize];
    let batch = Batch::parse(payload, table, &batch_limits(max_object_bytes))?;
    if batch.payload().len() != payload.len() {
        let used = batch.payload().len();
        return Err(RecordError::PayloadLength {
            payload: payload.len(),
            used,
        });
    }
    batch.verify_digests()?;
    Ok(Data {
        key: raw.key.key(),
        round: raw.round.get(),
        batch,
        checksum: found,
    })
}

fn seal(body: &[u8]) -> Result<Seal, RecordError> {
    let (raw, rest) = fixed::<RawSeal>(body)?;
    let (entries, torn) = rest.as_chunks::<{ size_of::<RawTotals>() }>();
    if !torn.is_empty() {
        exact_length(body, (body.len() - torn.len()) as u64)?;
    }
    let mut sessions = Vec::with_capacity(entries.len());
    for bytes in entries {
        let raw = fixed::<RawTotals>(bytes)?.0;
        let totals = Totals {
            objects: raw.objects.get(),
            bytes: raw.bytes.get(),
        };
        sessions.push((raw.key.key(), totals));
    }
    Ok(Seal {
        image_id: ImageId(raw.image_id),
        record_count: raw.record_count.get(),
        payload_bytes: raw.payload_bytes.get(),
        digest: Digest::from_bytes(raw.digest),
        sessions,
    })
}
