//! Sending batches from several threads, repeated chunks as references.
//!
//! ```text
//!  digest   side by side              chunks, and the guest's own digests
//!  plan     one after the other       what is copied from where; takes a number
//!  build    side by side              the record and its checksum
//!  write    in the order of numbers   into the stream
//! ```
//!
//! What a reference is looked up in, [`Known`], is brought up to date by the plan of every batch of the session, and
//! records are written in the order of their plans. So it is at each plan exactly what the records before this one say,
//! whatever threads do meanwhile and whatever the sender's own spool holds: a receiver that has applied those has these
//! bytes there. Once a record cannot be written no later one of its session is.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use channel::image::{Batch, BatchError, SessionKey};
use thiserror::Error;

use super::error::{WriteCause, WriteError};
use super::known::{Known, Secret};
use super::travel::{Digested, Plan};
use super::wire::{ImageId, TYPE_DATA, TYPE_HEAD, Totals};
use super::writer::{DataRecord, RecordWriter, Travelled, Written};

/// Memory in which chunks that have been sent are remembered, in bytes, for all sessions of a stream together: 838,000
/// chunks, 3.2 GiB of contents.
pub const REMEMBERED: usize = 32 << 20;

/// A batch was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("the guest's own batch is wrong: {0}")]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("an earlier record was not written: {0}")]
    Broken(String),
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
    planning: Mutex<Planning>,
    turn: Mutex<Turn>,
    next: Condvar,
}

struct Planning {
    known: Known,
    plans: u64,
}

#[derive(Default)]
struct Turn {
    /// Records that have been written.
    written: u64,
    broken: Option<String>,
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
                planning: Mutex::new(Planning {
                    known: Known::within(bytes / sessions.len()),
                    plans: 0,
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

    /// Writes `batch` as one DATA record of `round`; says how its bytes travelled.
    pub fn send(
        &self,
        key: &SessionKey,
        round: u32,
        batch: &Batch<'_>,
    ) -> Result<Travelled, SendError> {
        let Some(lane) = self.lanes.iter().find(|lane| lane.key == *key) else {
            let cause = WriteCause::UnknownSession(*key);
            return Err(lock(&self.writer).refuse(TYPE_DATA, cause).into());
        };
        let digested = Digested::new(batch, &lane.secret)?;
        let (ticket, plan) = lane.plan(&digested);
        let record = match plan.rebuilt() {
            None => DataRecord::of(key, round, batch, digested.extents()),
            Some(builder) => DataRecord::built(key, round, builder),
        };
        ticket.await_turn()?;
        match lock(&self.writer).put(&record) {
            Ok(()) => ticket.done(),
            Err(e) => {
                ticket.broken(&e.to_string());
                return Err(e.into());
            }
        }
        Ok(record.travelled())
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
    fn plan<'a>(&self, digested: &Digested<'a>) -> (Ticket<'_>, Plan<'a>) {
        let mut planning = lock(&self.planning);
        // First: should planning panic, the record is left half-way, and nothing must be looked up in it.
        let ticket = Ticket {
            lane: self,
            number: planning.plans,
        };
        planning.plans += 1;
        let plan = digested.plan(&mut planning.known);
        (ticket, plan)
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

    fn broken(&self, cause: &str) {
        let mut turn = lock(&self.lane.turn);
        turn.broken.get_or_insert_with(|| cause.to_owned());
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if lock(&self.lane.turn).written <= self.number {
            self.broken("a thread that was to write it ended");
        }
        self.lane.next.notify_all();
    }
}
