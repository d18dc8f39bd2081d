//! Where captured batches go: into the image first, so that an abort can restore it, then into the stream.
//!
//! Several threads bring them at once. Copying and digesting go side by side; only the write into the stream is one after
//! the other. What the stream has put somewhere before travels as a reference ([`RecordSender`]).

use channel::host::{Sink, workers_each};
use channel::image::{Batch, SessionKey};
use spool::{Image, ParallelWriter};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stream::{RecordSender, StreamEnd};

/// A stream's records, for the sessions of a domain together.
pub type Records = RecordSender<StreamEnd>;

/// Bytes of buffers that have come.
#[derive(Debug, Default)]
pub struct Counts {
    /// All that the guest sent, however they travelled on.
    pub bytes: AtomicU64,
    /// Of them, those that travelled as references.
    pub copies: AtomicU64,
    /// Not among them: those that the guest said are zero.
    pub zero: AtomicU64,
}

impl Counts {
    /// From the start.
    pub fn reset(&self) {
        for count in [&self.bytes, &self.copies, &self.zero] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// What the sessions of a capture share.
#[derive(Debug, Clone, Copy)]
pub struct CaptureSink<'a> {
    /// The stream; none for a capture that stays here.
    pub records: Option<&'a Records>,
    /// Set when the operation is called off.
    pub cancelled: &'a AtomicBool,
    /// Counts the bytes that have come; zeros and copies where there is a stream.
    pub sent: &'a Counts,
    /// Sessions that bring batches at the same time.
    pub sessions: usize,
}

impl<'a> CaptureSink<'a> {
    /// The sink of one session.
    pub fn sink(&self, key: SessionKey, image: &'a mut Image) -> SessionSink<'a>
    where
        Self: 'a,
    {
        SessionSink {
            sink: *self,
            key,
            image: ParallelWriter::new(image),
            has_come: AtomicBool::new(false),
        }
    }
}

/// One session's sink.
pub struct SessionSink<'a> {
    sink: CaptureSink<'a>,
    key: SessionKey,
    image: ParallelWriter<'a>,
    has_come: AtomicBool,
}

impl SessionSink<'_> {
    /// Whether anything has come.
    pub fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }
}

impl Sink for SessionSink<'_> {
    fn workers(&self) -> usize {
        workers_each(self.sink.sessions)
    }

    fn called_off(&self) -> Option<channel::BoxError> {
        let cancelled = self.sink.cancelled.load(Ordering::Relaxed);
        cancelled.then(|| "the operation was cancelled".into())
    }

    fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), channel::BoxError> {
        self.has_come.store(true, Ordering::Relaxed);
        self.image.apply(batch)?;
        let bytes = batch.payload().len() as u64;
        self.sink.sent.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(records) = self.sink.records else {
            return Ok(());
        };
        let sent = records.send(&self.key, round, batch);
        let elided = sent?;
        let Counts { copies, zero, .. } = self.sink.sent;
        copies.fetch_add(elided.copies, Ordering::Relaxed);
        zero.fetch_add(elided.zero, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spool::{Spool, SpoolConfig};

    #[test]
    fn many_sessions_share_the_threads_of_one() {
        let spool = Spool::new(SpoolConfig {
            memory_bytes: 0,
            dir: "/nonexistent".into(),
            guest_bytes: 0,
        });
        let workers = |sessions| {
            let sink = CaptureSink {
                records: None,
                cancelled: &AtomicBool::new(false),
                sent: &Counts::default(),
                sessions,
            };
            let key = SessionKey {
                session: channel::image::SessionId([1; 16]),
                generation: 1,
            };
            sink.sink(key, &mut spool.guest().new_image()).workers()
        };
        assert_eq!(workers(64), 1);
        for sessions in 1..=16 {
            assert!(workers(sessions) == 1 || workers(sessions) * sessions <= workers(1));
        }
    }
}
