//! The order of records, as types: `AwaitHead`, `Receiving`, `Sealed`.

use std::io::Read;

use channel::image::{Extent, SessionKey};

use super::error::{RecordError, SealField, StreamError};
use super::libxc::RecordHeader;
use super::reader::{Data, Head, Record, RecordReader, Seal, StreamLimits};
use super::wire::{ImageId, StreamDigest, Totals, is_gpu_type};

/// Where received images are put: the spool, or a mere counter.
pub trait ImageSink {
    /// Why something could not be kept.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The sessions that will come. Called once, first.
    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), Self::Error>;

    /// One extent in order, with its bytes of the payload. Those of a data extent have been verified; those that a copy
    /// extent names can be by the sink alone.
    fn apply(
        &mut self,
        key: &SessionKey,
        round: u32,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<(), Self::Error>;

    /// What the image of `key` holds now.
    fn totals(&self, key: &SessionKey) -> Totals;
}

/// A stream that has received nothing.
#[derive(Debug)]
pub struct AwaitHead;

/// A stream between HEAD and SEAL.
#[derive(Debug)]
pub struct Receiving {
    head: Head,
    records: u64,
    payload_bytes: u64,
    digest: StreamDigest,
}

/// Everything has come, and is what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Name of the stream's GPU part.
    pub image_id: ImageId,
    /// The images that are complete now, with what they hold.
    pub sessions: Vec<(SessionKey, Totals)>,
    /// DATA records.
    pub records: u64,
    /// Their payload, in bytes.
    pub payload_bytes: u64,
}

/// A stream in one of the three states.
#[derive(Debug)]
pub struct Stream<State>(State);

fn sink_error(error: impl std::error::Error + Send + Sync + 'static) -> RecordError {
    RecordError::Sink(Box::new(error))
}

impl Stream<AwaitHead> {
    /// The start.
    pub fn new() -> Self {
        Stream(AwaitHead)
    }

    /// HEAD has come.
    pub fn head(
        self,
        head: Head,
        sink: &mut impl ImageSink,
    ) -> Result<Stream<Receiving>, RecordError> {
        sink.begin(&head.sessions).map_err(sink_error)?;
        let digest = StreamDigest::new();
        Ok(Stream(Receiving {
            head,
            records: 0,
            payload_bytes: 0,
            digest,
        }))
    }
}

impl Default for Stream<AwaitHead> {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream<Receiving> {
    /// DATA has come.
    pub fn data(&mut self, data: &Data<'_>, sink: &mut impl ImageSink) -> Result<(), RecordError> {
        let state = &mut self.0;
        if !state.head.sessions.contains(&data.key) {
            return Err(RecordError::UnknownSession(data.key));
        }
        for (extent, bytes) in data.batch.iter() {
            sink.apply(&data.key, data.round, &extent, bytes)
                .map_err(sink_error)?;
        }
        state.records += 1;
        state.payload_bytes += data.batch.payload().len() as u64;
        state.digest.add(&data.checksum.to_bytes());
        Ok(())
    }

    /// SEAL has come: everything it states must be so.
    pub fn seal(self, seal: &Seal, sink: &impl ImageSink) -> Result<Stream<Sealed>, RecordError> {
        let Receiving {
            head,
            records,
            payload_bytes,
            digest,
        } = self.0;
        agree(SealField::ImageId, seal.image_id, head.image_id)?;
        agree(SealField::RecordCount, seal.record_count, records)?;
        agree(SealField::PayloadBytes, seal.payload_bytes, payload_bytes)?;
        agree(SealField::Digest, seal.digest, digest.digest())?;
        if !seal.sessions.iter().map(|(key, _)| key).eq(&head.sessions) {
            let list = |keys: &mut dyn Iterator<Item = &SessionKey>| {
                keys.map(SessionKey::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            return Err(RecordError::Seal {
                field: SealField::Sessions,
                sealed: list(&mut seal.sessions.iter().map(|(key, _)| key)),
                received: list(&mut head.sessions.iter()),
            });
        }
        for (key, sealed) in &seal.sessions {
            let received = sink.totals(key);
            agree(SealField::Objects(*key), sealed.objects, received.objects)?;
            agree(SealField::Bytes(*key), sealed.bytes, received.bytes)?;
        }
        let sessions = seal.sessions.clone();
        Ok(Stream(Sealed {
            image_id: head.image_id,
            sessions,
            records,
            payload_bytes,
        }))
    }
}

impl Stream<Sealed> {
    /// What has been received.
    pub fn into_sealed(self) -> Sealed {
        self.0
    }
}

fn agree<T: PartialEq + std::fmt::Display>(
    field: SealField,
    sealed: T,
    received: T,
) -> Result<(), RecordError> {
    if sealed == received {
        return Ok(());
    }
    Err(RecordError::Seal {
        field,
        sealed: sealed.to_string(),
        received: received.to_string(),
    })
}

/// The state where records decide it at run time. A refused record is final.
#[derive(Debug)]
enum Phase {
    AwaitHead(Stream<AwaitHead>),
    Receiving(Stream<Receiving>),
    Sealed(Stream<Sealed>),
    Failed,
}

/// Receives the GPU part of one stream, in as many stretches as libxc's own records cut it into.
#[derive(Debug)]
pub struct Receiver {
    reader: RecordReader,
    phase: Phase,
}

impl Receiver {
    /// A receiver that has seen nothing.
    pub fn new(limits: StreamLimits) -> Receiver {
        Receiver {
            reader: RecordReader::new(limits),
            phase: Phase::AwaitHead(Stream::new()),
        }
    }

    /// The reader, to tell it where in the stream it is.
    pub fn reader(&mut self) -> &mut RecordReader {
        &mut self.reader
    }

    /// Reads the body of the GPU record with `header` and gives it to `sink`.
    pub fn record(
        &mut self,
        from: &mut impl Read,
        header: RecordHeader,
        sink: &mut impl ImageSink,
    ) -> Result<(), StreamError> {
        let phase = std::mem::replace(&mut self.phase, Phase::Failed);

        let body = self.reader.read_body(from, header)?;
        let next = match (phase, body) {
            (Phase::AwaitHead(stream), Record::Head(head)) => {
                stream.head(head, sink).map(Phase::Receiving)
            }
            (Phase::Receiving(mut stream), Record::Data(data)) => {
                stream.data(&data, sink).map(|()| Phase::Receiving(stream))
            }
            (Phase::Receiving(stream), Record::Seal(seal)) => {
                stream.seal(&seal, sink).map(Phase::Sealed)
            }
            (Phase::AwaitHead(_), _) => Err(RecordError::BeforeHead),
            (Phase::Receiving(_), Record::Head(_)) => Err(RecordError::SecondHead),
            (Phase::Sealed(_), _) => Err(RecordError::AfterSeal),
            (Phase::Failed, _) => Err(RecordError::Failed),
        };
        self.phase = next.map_err(|error| self.reader.refuse(error))?;
        Ok(())
    }

    /// Goes on with `first` and all GPU records that follow it; returns the first header that is not ours.
    ///
    /// Nothing is read beyond that header: its body, and the rest of the stream, are libxc's.
    pub fn records(
        &mut self,
        from: &mut impl Read,
        first: RecordHeader,
        sink: &mut impl ImageSink,
    ) -> Result<RecordHeader, StreamError> {
        let mut header = first;
        while is_gpu_type(header.record_type) {
            self.record(from, header, sink)?;
            header = self.reader.read_header(from)?;
        }
        Ok(header)
    }

    /// Whether no GPU record has come yet.
    pub fn is_empty(&self) -> bool {
        matches!(self.phase, Phase::AwaitHead(_))
    }

    /// Whether SEAL has come and everything agreed.
    pub fn is_sealed(&self) -> bool {
        matches!(self.phase, Phase::Sealed(_))
    }

    /// The sessions HEAD announced, while they are being received.
    pub fn sessions(&self) -> &[SessionKey] {
        match &self.phase {
            Phase::Receiving(stream) => &stream.0.head.sessions,
            _ => &[],
        }
    }

    /// At libxc's END: `None` if there was no GPU record at all, an error if there were and no SEAL.
    pub fn finish(self) -> Result<Option<Sealed>, StreamError> {
        match self.phase {
            Phase::AwaitHead(_) => Ok(None),
            Phase::Sealed(stream) => Ok(Some(stream.into_sealed())),
            Phase::Receiving(_) => Err(self.reader.refuse(RecordError::NotSealed)),
            Phase::Failed => Err(self.reader.refuse(RecordError::Failed)),
        }
    }
}
