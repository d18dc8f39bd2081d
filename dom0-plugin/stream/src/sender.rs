//! Sending batches from several threads, repeated chunks as references.
//!
//! ```text
//!  digest        side by side              chunks, and the guest's own digests
//!  deduplicate   one after the other       what is copied from where; takes a number
//!  build         side by side              the record and its checksum
//!  write         in the order of numbers   into the stream
//! ```
//!
//! Every batch brings its session's [`ChunkIndex`] up to date when it takes its number, and records are written in the
//! order of numbers. So the index then holds exactly what the records before this one say, whatever threads do meanwhile
//! and whatever the sender's own spool holds: a receiver that has applied those has these bytes there. Once a record
//! cannot be written, no later one of its session is.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use channel::image::{Batch, BatchError, SessionKey};
use thiserror::Error;

use super::chunk_index::{ChunkIndex, Secret};
use super::dedup::{Deduplicated, Digested};
use super::error::{WriteCause, WriteError};
use super::wire::{ImageId, TYPE_DATA, TYPE_HEAD, Totals};
use super::writer::{DataRecord, Elided, RecordWriter, Written};

/// Memory in which chunks that have been sent are remembered, in bytes, for all sessions of a stream together: 838,000
/// chunks, 3.2 GiB of contents.
pub const REMEMBERED: usize = 32 << 20;

/// A batch was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("the guest's own batch is wrong: {0}")]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Write(Arc<WriteError>),
    #[error("an earlier record was not written: {0}")]
    Broken(Broken),
}

impl From<WriteError> for SendError {
    fn from(error: WriteError) -> Self {
        SendError::Write(Arc::new(error))
    }
}

/// Why no more records of a session are written.
#[derive(Debug, Clone, Error)]
pub enum Broken {
    #[error(transparent)]
    Write(Arc<WriteError>),
    #[error("a thread that was to write it ended")]
    ThreadEnded,
}

/// A stream's records, written by several threads.
pub struct RecordSender<W> {
    lanes: Vec<Lane>,
    writer: Mutex<RecordWriter<W>>,
}

/// Secrets are not to be shown.
impl<W: Write> fmt::Debug for RecordSender<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions: Vec<_> = self.lanes.iter().map(|lane| lane.key).collect();
        write!(f, "RecordSender({sessions:?}, {:?})", self.written())
    }
}

/// One session's part.
struct Lane {
    key: SessionKey,
    secret: Secret,
    order: Mutex<Order>,
    turn: Mutex<Turn>,
    next: Condvar,
}

/// Taken by who deduplicates.
struct Order {
    index: ChunkIndex,
    numbers: u64,
}

#[derive(Default)]
struct Turn {
    /// Records that have been written.
    written: u64,
    broken: Option<Broken>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Write> RecordSender<W> {
    /// Writes HEAD, as [`RecordWriter::start`] does.
    pub fn start(to: W, image_id: ImageId, sessions: &[SessionKey]) -> Result<Self, WriteError> {
        Self::remembering(REMEMBERED, to, image_id, sessions)
    }

    /// With so many bytes of memory for chunks that have been sent.
    pub fn remembering(
        bytes: usize,
        to: W,
        image_id: ImageId,
        sessions: &[SessionKey],
    ) -> Result<Self, WriteError> {
        let writer = RecordWriter::start(to, image_id, sessions)?;
        let lane = |key: &SessionKey| -> io::Result<Lane> {
            Ok(Lane {
                key: *key,
                secret: Secret::random()?,
                order: Mutex::new(Order {
                    index: ChunkIndex::within(bytes / sessions.len()),
                    numbers: 0,
                }),
                turn: Mutex::default(),
                next: Condvar::new(),
            })
        };
        let lanes = sessions.iter().map(lane).collect::<io::Result<_>>();
        Ok(RecordSender {
            lanes: lanes.map_err(|e| writer.refuse(TYPE_HEAD, WriteCause::Io(e)))?,
            writer: Mutex::new(writer),
        })
    }

    /// Writes `batch` as one DATA record of `round`; says what of it was not carried.
    pub fn send(
        &self,
        key: &SessionKey,
        round: u32,
        batch: &Batch<'_>,
    ) -> Result<Elided, SendError> {
        let Some(lane) = self.lanes.iter().find(|lane| lane.key == *key) else {
            let cause = WriteCause::UnknownSession(*key);
            return Err(lock(&self.writer).refuse(TYPE_DATA, cause).into());
        };
        let digested = Digested::new(batch, &lane.secret)?;
        let (ticket, deduplicated) = lane.deduplicate(&digested);
        let record = match deduplicated.rebuilt() {
            None => DataRecord::of(key, round, batch, digested.extents()),
            Some(builder) => DataRecord::built(key, round, builder),
        };
        ticket.await_turn()?;
        match lock(&self.writer).put(&record) {
            Ok(()) => ticket.done(),
            Err(e) => {
                let e = Arc::new(e);
                ticket.broken(Broken::Write(e.clone()));
                return Err(SendError::Write(e));
            }
        }
        Ok(record.elided())
    }

    /// Writes SEAL, as [`RecordWriter::seal`] does.
    pub fn seal(self, totals: impl Fn(&SessionKey) -> Totals) -> Result<(W, Written), WriteError> {
        let RecordSender { lanes, writer } = self;
        // The programs wait; giving so much memory back takes milliseconds.
        std::thread::spawn(move || drop(lanes));
        let writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        writer.seal(totals)
    }

    /// What has been written so far.
    pub fn written(&self) -> Written {
        lock(&self.writer).written()
    }
}

impl Lane {
    fn deduplicate<'a>(&self, digested: &Digested<'a>) -> (Ticket<'_>, Deduplicated<'a>) {
        let mut order = lock(&self.order);
        // First: should the next step panic, the index is left half-way, and nothing must be looked up in it.
        let ticket = Ticket {
            lane: self,
            number: order.numbers,
        };
        order.numbers += 1;
        let deduplicated = digested.deduplicate(&mut order.index);
        (ticket, deduplicated)
    }
}

/// A record's place in the order of its session's. One that is dropped without a word breaks the stream.
struct Ticket<'a> {
    lane: &'a Lane,
    number: u64,
}

impl Ticket<'_> {
    fn await_turn(&self) -> Result<(), SendError> {
        let mut turn = lock(&self.lane.turn);
        loop {
            if let Some(cause) = &turn.broken {
                return Err(SendError::Broken(cause.clone()));
            }
            if turn.written == self.number {
                return Ok(());
            }
            turn = (self.lane.next.wait(turn)).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        lock(&self.lane.turn).written += 1;
    }

    fn broken(&self, cause: Broken) {
        lock(&self.lane.turn).broken.get_or_insert(cause);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if lock(&self.lane.turn).written <= self.number {
            self.broken(Broken::ThreadEnded);
        }
        self.lane.next.notify_all();
    }
}
