//! Where captured batches go: into the image first, so that an abort can restore it, then into the stream.

use super::stream_end::StreamEnd;
use crate::spool::Image;
use crate::stream::{MAX_EXTENTS, MAX_PAYLOAD, RecordWriter};
use channel::host::Sink;
use channel::image::{Batch, BatchBuilder, Digest, Extent, ExtentKind, Limits, SessionKey};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A stream's record writer, for the sessions of a domain together.
pub type Records = Mutex<RecordWriter<StreamEnd>>;

/// What the sessions of a capture share.
#[derive(Debug, Clone, Copy)]
pub struct Tee<'a> {
    /// The stream; none for a capture that stays here.
    pub records: Option<&'a Records>,
    /// Set when the operation is called off.
    pub cancelled: &'a AtomicBool,
    /// Counts the bytes that have come.
    pub sent: &'a AtomicU64,
}

impl<'a> Tee<'a> {
    /// The sink of one session.
    pub fn sink(&self, key: SessionKey, image: &'a mut Image) -> ImageSink<'a>
    where
        Self: 'a,
    {
        ImageSink {
            tee: *self,
            key,
            image,
            builder: BatchBuilder::new(MAX_PAYLOAD, MAX_EXTENTS),
        }
    }
}

/// One session's sink.
pub struct ImageSink<'a> {
    tee: Tee<'a>,
    key: SessionKey,
    image: &'a mut Image,
    builder: BatchBuilder,
}

impl Sink for ImageSink<'_> {
    fn called_off(&self) -> Option<String> {
        let cancelled = self.tee.cancelled.load(Ordering::Relaxed);
        cancelled.then(|| "the operation was cancelled".into())
    }

    fn batch(&mut self, round: u32, batch: &Batch<'_>) -> Result<(), String> {
        for (extent, bytes) in batch.iter() {
            self.image
                .apply(&extent, bytes)
                .map_err(|e| e.to_string())?;
        }
        let bytes = batch.payload().len() as u64;
        self.tee.sent.fetch_add(bytes, Ordering::Relaxed);
        let Some(records) = self.tee.records else {
            return Ok(());
        };
        // Guests may leave digests out; in a stream each extent has one, computed over our private copy.
        self.builder.clear();
        for (extent, bytes) in batch.iter() {
            if !push(&mut self.builder, &extent, bytes)? {
                return Err("a batch from the guest does not fit a record".into());
            }
        }
        let table = self.builder.table();
        let limits = Limits {
            max_extents: MAX_EXTENTS,
            max_data_bytes: MAX_PAYLOAD as u32,
            ..Limits::default()
        };
        let complete = Batch::parse(self.builder.payload(), &table, &limits)
            .map_err(|e| format!("a batch just made is none: {e}"))?;
        let mut writer = records.lock().unwrap_or_else(|e| e.into_inner());
        writer
            .data(&self.key, round, &complete)
            .map_err(|e| e.to_string())
    }
}

fn push(builder: &mut BatchBuilder, extent: &Extent, bytes: &[u8]) -> Result<bool, String> {
    let Extent {
        object,
        object_size,
        offset,
        len,
        kind,
        digest,
    } = *extent;
    Ok(match kind {
        ExtentKind::Data => {
            if digest != Digest::NONE && digest != Digest::of(bytes) {
                return Err(format!(
                    "object {object}: {len} bytes at {offset} do not match the digest the guest gave"
                ));
            }
            builder.push_data(object, object_size, offset, bytes)
        }
        ExtentKind::Zero => builder.push_zero(object, object_size, offset, len),
        ExtentKind::Drop => builder.push_drop(object),
    })
}
