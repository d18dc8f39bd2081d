//! Writing GPU records at a record boundary of somebody else's stream.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IoSlice, Write};

use channel::image::{
    Batch, BatchBuilder, DigestStream, EXTENT_BYTES, Extent, ExtentKind, SessionKey,
};
use zerocopy::IntoBytes;

use super::error::{WriteCause, WriteError};
use super::libxc::{ALIGN, RecordHeader};
use super::wire::{
    CHECKSUM_BYTES, ImageId, MAGIC, MAX_EXTENTS, MAX_PAYLOAD, MAX_SESSIONS, RawData, RawHead,
    RawKey, RawSeal, RawTotals, STREAM_VERSION, StreamDigest, TYPE_DATA, TYPE_HEAD, TYPE_SEAL,
    Totals,
};

/// What a writer has put into its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// DATA records.
    pub data_records: u64,
    /// Their payload, in bytes.
    pub payload_bytes: u64,
    /// All GPU records with their headers, in bytes.
    pub stream_bytes: u64,
    /// What the records said without carrying it.
    pub elided: Elided,
}

/// Bytes of contents that records say without carrying them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Elided {
    /// Said to be zero.
    pub zero: u64,
    /// Said to stand elsewhere in the image.
    pub copies: u64,
}

/// Writes HEAD, DATA… and SEAL.
///
/// The stream must stand at a record boundary at each call. After a [`WriteError`] that tore a record
/// nothing more is written: every further call fails with [`WriteCause::Torn`].
#[derive(Debug)]
pub struct RecordWriter<W> {
    out: Output<W>,
    image_id: ImageId,
    sessions: Vec<SessionKey>,
    digest: StreamDigest,
}

#[derive(Debug)]
struct Output<W> {
    to: W,
    record: u64,
    torn: bool,
    written: Written,
}

impl<W: Write> RecordWriter<W> {
    /// Writes HEAD, which announces `sessions`: at least one and at most [`MAX_SESSIONS`], none twice.
    pub fn start(to: W, image_id: ImageId, sessions: &[SessionKey]) -> Result<Self, WriteError> {
        let mut out = Output {
            to,
            record: 0,
            torn: false,
            written: Written::default(),
        };
        let mut sorted: Vec<_> = sessions.iter().map(|key| key.session).collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sessions.is_empty() || sorted.len() != sessions.len() || sessions.len() > MAX_SESSIONS {
            return Err(out.refuse(TYPE_HEAD, WriteCause::Sessions(sessions.len())));
        }
        let head = RawHead {
            magic: MAGIC,
            version: STREAM_VERSION.into(),
            session_count: (sessions.len() as u32).into(),
            image_id: image_id.0,
        };
        let keys: Vec<RawKey> = sessions.iter().map(RawKey::new).collect();
        out.record(TYPE_HEAD, &[head.as_bytes(), keys.as_bytes()])?;
        Ok(RecordWriter {
            out,
            image_id,
            sessions: sessions.to_vec(),
            digest: StreamDigest::new(),
        })
    }

    /// Writes `batch` as one DATA record of `round` ([`super::STOP_ROUND`] for the stop-and-copy).
    pub fn data(
        &mut self,
        key: &SessionKey,
        round: u32,
        batch: &Batch<'_>,
    ) -> Result<(), WriteError> {
        self.put(&DataRecord::new(key, round, batch))
    }

    /// Writes a record that has been made beforehand.
    pub fn put(&mut self, record: &DataRecord<'_>) -> Result<(), WriteError> {
        let DataRecord {
            key,
            payload,
            extents,
            checksum,
            elided,
            ..
        } = record;
        if !self.sessions.contains(key) {
            return Err(self.out.refuse(TYPE_DATA, WriteCause::UnknownSession(*key)));
        }
        if payload.len() > MAX_PAYLOAD || *extents > MAX_EXTENTS {
            let (extents, payload) = (*extents, payload.len());
            return Err(self
                .out
                .refuse(TYPE_DATA, WriteCause::TooLarge { extents, payload }));
        }
        let [fixed, payload, padding, table] = record.parts();
        self.out
            .record(TYPE_DATA, &[fixed, payload, padding, table, checksum])?;
        self.digest.add(checksum);
        self.out.written.data_records += 1;
        self.out.written.payload_bytes += payload.len() as u64;
        self.out.written.elided.zero += elided.zero;
        self.out.written.elided.copies += elided.copies;
        Ok(())
    }

    /// Writes SEAL. `totals` gives, for each session of HEAD, what its finished image holds.
    pub fn seal(
        mut self,
        totals: impl Fn(&SessionKey) -> Totals,
    ) -> Result<(W, Written), WriteError> {
        let seal = RawSeal {
            image_id: self.image_id.0,
            record_count: self.out.written.data_records.into(),
            payload_bytes: self.out.written.payload_bytes.into(),
            digest: self.digest.digest().to_bytes(),
        };
        let raw = |key| {
            let Totals { objects, bytes } = totals(key);
            RawTotals {
                key: RawKey::new(key),
                objects: objects.into(),
                bytes: bytes.into(),
            }
        };
        let sessions: Vec<RawTotals> = self.sessions.iter().map(raw).collect();
        self.out
            .record(TYPE_SEAL, &[seal.as_bytes(), sessions.as_bytes()])?;
        Ok((self.out.to, self.out.written))
    }

    /// What has been written so far.
    pub fn written(&self) -> Written {
        self.out.written
    }

    /// An error about a record that was not begun.
    pub(super) fn refuse(&self, record_type: u32, cause: WriteCause) -> WriteError {
        self.out.refuse(record_type, cause)
    }

    /// The sessions HEAD announced.
    pub fn sessions(&self) -> &[SessionKey] {
        &self.sessions
    }

    /// Whether the stream ends in the middle of a record.
    pub fn is_torn(&self) -> bool {
        self.out.torn
    }
}

/// A DATA record with its checksum: made by whoever has the batch, written when it is the stream's turn.
pub struct DataRecord<'a> {
    key: SessionKey,
    fixed: RawData,
    payload: Cow<'a, [u8]>,
    extents: usize,
    table: Vec<u8>,
    checksum: [u8; CHECKSUM_BYTES],
    elided: Elided,
}

impl<'a> DataRecord<'a> {
    /// The record of `batch`, its extents as they are.
    pub fn new(key: &SessionKey, round: u32, batch: &Batch<'a>) -> Self {
        Self::of(key, round, batch, batch.iter().map(|(extent, _)| extent))
    }

    /// The record of `batch`, with these extents instead of its own: they differ in digests alone.
    pub(super) fn of(
        key: &SessionKey,
        round: u32,
        batch: &Batch<'a>,
        extents: impl Iterator<Item = Extent>,
    ) -> Self {
        let extents: Vec<Extent> = extents.collect();
        let mut table = Vec::with_capacity(extents.len() * EXTENT_BYTES);
        for extent in &extents {
            table.extend_from_slice(extent.to_wire().as_bytes());
        }
        Self::made(key, round, Cow::Borrowed(batch.payload()), &extents, table)
    }

    /// The record of a batch that has been built for it.
    pub(super) fn built(key: &SessionKey, round: u32, batch: BatchBuilder) -> Self {
        let table = batch.table();
        let (payload, extents) = batch.into_parts();
        Self::made(key, round, Cow::Owned(payload), &extents, table)
    }

    fn made(
        key: &SessionKey,
        round: u32,
        payload: Cow<'a, [u8]>,
        extents: &[Extent],
        table: Vec<u8>,
    ) -> Self {
        let mut elided = Elided::default();
        for extent in extents {
            match extent.kind {
                ExtentKind::Zero => elided.zero += u64::from(extent.len),
                ExtentKind::Copy => elided.copies += u64::from(extent.len),
                ExtentKind::Data | ExtentKind::Drop => {}
            }
        }
        let mut record = DataRecord {
            key: *key,
            fixed: RawData {
                key: RawKey::new(key),
                round: round.into(),
                extent_count: (extents.len() as u32).into(),
                payload_len: (payload.len() as u32).into(),
                reserved: 0.into(),
            },
            payload,
            extents: extents.len(),
            table,
            checksum: [0; CHECKSUM_BYTES],
            elided,
        };
        let mut checksum = DigestStream::new();
        record.parts().iter().for_each(|part| checksum.update(part));
        record.checksum = checksum.digest().to_bytes();
        record
    }

    /// What it says without carrying it.
    pub fn elided(&self) -> Elided {
        self.elided
    }

    /// All but the checksum.
    fn parts(&self) -> [&[u8]; 4] {
        let padding = self.payload.len().next_multiple_of(ALIGN) - self.payload.len();
        [
            self.fixed.as_bytes(),
            &self.payload,
            &[0; ALIGN][..padding],
            &self.table,
        ]
    }
}

impl<W: Write> Output<W> {
    fn refuse(&self, record_type: u32, cause: WriteCause) -> WriteError {
        WriteError {
            record: self.record + 1,
            record_type,
            written: 0,
            length: 0,
            cause,
        }
    }

    fn record(&mut self, record_type: u32, body: &[&[u8]]) -> Result<(), WriteError> {
        if self.torn {
            return Err(self.refuse(record_type, WriteCause::Torn));
        }
        let body_bytes: usize = body.iter().map(|part| part.len()).sum();
        debug_assert!(
            body_bytes.is_multiple_of(ALIGN),
            "our records need no padding"
        );
        let header = RecordHeader {
            record_type,
            length: body_bytes as u32,
        }
        .to_bytes();
        let length = (header.len() + body_bytes) as u64;

        let mut slices = Vec::with_capacity(body.len() + 1);
        slices.push(IoSlice::new(&header));
        slices.extend(body.iter().map(|part| IoSlice::new(part)));
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        let mut written = 0;
        while !rest.is_empty() {
            let cause = match self.to.write_vectored(rest) {
                Ok(0) => WriteCause::Disconnected,
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    written += count as u64;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => cause(error),
            };
            self.torn = written > 0;
            let record = self.record + 1;
            return Err(WriteError {
                record,
                record_type,
                written,
                length,
                cause,
            });
        }
        self.record += 1;
        self.written.stream_bytes += length;
        Ok(())
    }
}

fn cause(error: io::Error) -> WriteCause {
    const EBADF: i32 = rustix::io::Errno::BADF.raw_os_error();
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            WriteCause::Disconnected
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            WriteCause::NoSpace
        }
        _ if error.raw_os_error() == Some(EBADF) => WriteCause::Cancelled,
        _ => WriteCause::Io(error),
    }
}
