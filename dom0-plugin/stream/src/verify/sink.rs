//! Follows images without keeping their contents: sizes, rounds and the manifests, which are never copied.

use std::collections::BTreeMap;

use channel::image::{
    CopySource, Extent, ExtentKind, MANIFEST_OBJECT, MAX_MANIFEST_BYTES, Manifest, ManifestError,
    SessionKey,
};
use thiserror::Error;

use super::error::VerifyFault;
use super::report::{GpuReport, RoundCounts, SessionReport};
use crate::receiver::{ImageSink, Sealed};
use crate::wire::{STOP_ROUND, Totals};

/// What a sound stream does not do.
#[derive(Debug, Error)]
pub(super) enum TallyError {
    #[error("object {object} has {held} bytes, an extent says {claimed}")]
    SizeChanged {
        object: u64,
        held: u64,
        claimed: u64,
    },
    #[error(
        "{len} bytes for object {object} at {offset} are to be copied from object {from_object} at {from_offset}, \
         which has {size} bytes"
    )]
    NoSource {
        object: u64,
        offset: u64,
        len: u32,
        from_object: u64,
        from_offset: u64,
        /// 0 where there is no such object.
        size: u64,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

#[derive(Debug, Default)]
struct Image {
    objects: BTreeMap<u64, u64>,
    rounds: BTreeMap<u32, RoundCounts>,
    manifest: Vec<u8>,
}

/// All sessions of a stream.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<SessionKey, Image>);

impl ImageSink for Tally {
    type Error = TallyError;

    fn begin(&mut self, sessions: &[SessionKey]) -> Result<(), TallyError> {
        self.0 = sessions
            .iter()
            .map(|key| (*key, Image::default()))
            .collect();
        Ok(())
    }

    fn apply(
        &mut self,
        key: &SessionKey,
        round: u32,
        extent: &Extent,
        bytes: &[u8],
    ) -> Result<(), TallyError> {
        let image = self.0.entry(*key).or_default();
        let counts = image
            .rounds
            .entry(round)
            .or_insert_with(|| RoundCounts::new(round));
        counts.extents += 1;
        match extent.kind {
            ExtentKind::Data => counts.data_bytes += u64::from(extent.len),
            ExtentKind::Zero => counts.zero_bytes += u64::from(extent.len),
            ExtentKind::Copy => {
                counts.copy_bytes += u64::from(extent.len);
                image.check_source(extent, bytes)?;
            }
            ExtentKind::Drop => {
                image.objects.remove(&extent.object);
                if extent.object == MANIFEST_OBJECT {
                    image.manifest.clear();
                }
                return Ok(());
            }
        }
        let (object, claimed) = (extent.object, extent.object_size);
        let held = *image.objects.entry(object).or_insert(claimed);
        if held != claimed {
            return Err(TallyError::SizeChanged {
                object,
                held,
                claimed,
            });
        }
        if object == MANIFEST_OBJECT {
            image.write_manifest(extent, bytes)?;
        }
        Ok(())
    }

    fn totals(&self, key: &SessionKey) -> Totals {
        let Some(image) = self.0.get(key) else {
            return Totals::default();
        };
        // Sizes are each within the limit but their sum is the sender's: it must not wrap.
        let bytes = image
            .objects
            .values()
            .fold(0u64, |sum, size| sum.saturating_add(*size));
        Totals {
            objects: image.objects.len() as u64,
            bytes,
        }
    }
}

impl Image {
    /// What is to be copied has to be there. Its bytes are not kept here, so their digest is the receiver's to check.
    fn check_source(&self, extent: &Extent, source: &[u8]) -> Result<(), TallyError> {
        let from = CopySource::from_payload(source).expect("the batch was parsed");
        let size = self.objects.get(&from.object).copied();
        let end = from.offset.saturating_add(u64::from(extent.len));
        match size {
            Some(size) if end <= size => Ok(()),
            _ => Err(TallyError::NoSource {
                object: extent.object,
                offset: extent.offset,
                len: extent.len,
                from_object: from.object,
                from_offset: from.offset,
                size: size.unwrap_or(0),
            }),
        }
    }

    fn write_manifest(&mut self, extent: &Extent, bytes: &[u8]) -> Result<(), ManifestError> {
        if extent.object_size > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(extent.object_size));
        }
        self.manifest.resize(extent.object_size as usize, 0);
        let run = &mut self.manifest[extent.offset as usize..][..extent.len as usize];
        match extent.kind {
            ExtentKind::Data => run.copy_from_slice(bytes),
            _ => run.fill(0),
        }
        Ok(())
    }

    fn parsed(&self, generation: u64) -> Result<Option<Manifest>, ManifestError> {
        if !self.objects.contains_key(&MANIFEST_OBJECT) {
            return Ok(None);
        }
        let manifest = Manifest::parse(&self.manifest)?;
        manifest.check(
            generation,
            self.objects.iter().map(|(number, size)| (*number, *size)),
        )?;
        Ok(Some(manifest))
    }
}

impl Tally {
    /// The report of a sealed stream, once the manifests agree with the objects.
    pub fn report(self, sealed: &Sealed) -> Result<GpuReport, VerifyFault> {
        let mut sessions = Vec::with_capacity(sealed.sessions.len());
        for (key, totals) in &sealed.sessions {
            let Some(image) = self.0.get(key) else {
                continue;
            };
            let manifest = image
                .parsed(key.generation)
                .map_err(|error| VerifyFault::Manifest { key: *key, error })?;
            sessions.push(SessionReport {
                session: key.session,
                generation: key.generation,
                objects: totals.objects,
                bytes: totals.bytes,
                // Round numbers ascend, the stop-and-copy is the largest: the order of sending, unless a stop was taken back.
                rounds: image.rounds.values().copied().collect(),
                manifest,
            });
        }
        let Sealed {
            image_id,
            records,
            payload_bytes,
            ..
        } = *sealed;
        Ok(GpuReport {
            image_id,
            data_records: records,
            payload_bytes,
            sessions,
        })
    }
}

impl RoundCounts {
    fn new(number: u32) -> RoundCounts {
        RoundCounts {
            round: (number != STOP_ROUND).then_some(number),
            extents: 0,
            data_bytes: 0,
            zero_bytes: 0,
            copy_bytes: 0,
        }
    }
}
