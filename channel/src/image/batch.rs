//! Reading a batch: the only way untrusted extents become [`Extent`]s.

use thiserror::Error;
use zerocopy::FromBytes;

use super::digest::Digest;
use super::extent::{CopySource, EXTENT_BYTES, Extent, ExtentKind, RawExtent, payload_start};
use super::manifest::MANIFEST_OBJECT;

/// Bounds on what a batch may claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// Largest object, in bytes.
    pub max_object_bytes: u64,
    /// Most extents in one batch.
    pub max_extents: usize,
    /// Longest data or copy extent, in bytes. Zero extents are bounded by their object alone: they take no space.
    pub max_data_bytes: u32,
    /// Whether there may be copy extents: in a stream, not in a slot.
    pub copies: bool,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits {
            max_object_bytes: 1 << 40,
            max_extents: 4096,
            max_data_bytes: 4 << 20,
            copies: false,
        }
    }
}

/// Why a batch was refused. `index` is the extent's place in the table.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    #[error("table of {0} bytes is not a whole number of {EXTENT_BYTES}-byte extents")]
    TornTable(usize),
    #[error("{count} extents in one batch, at most {limit} allowed")]
    TooManyExtents { count: usize, limit: usize },
    #[error("extent {index}: unknown kind {kind}")]
    UnknownKind { index: usize, kind: u32 },
    #[error("extent {index}: object {object} claims {size} bytes, at most {limit} allowed")]
    ObjectTooLarge {
        index: usize,
        object: u64,
        size: u64,
        limit: u64,
    },
    #[error("extent {index}: a copy into object {object}, which only a migration stream can carry")]
    CopyOutsideStream { index: usize, object: u64 },
    #[error("extent {index}: the manifest is neither copied nor copied from")]
    CopyOfManifest { index: usize },
    #[error(
        "extent {index}: {len} bytes for object {object} at {offset} are to be copied from object {from_object} at \
         {from_offset}, beyond any object"
    )]
    CopySource {
        index: usize,
        object: u64,
        offset: u64,
        len: u32,
        from_object: u64,
        from_offset: u64,
    },
    #[error("extent {index}: empty run in object {object}")]
    Empty { index: usize, object: u64 },
    #[error("extent {index}: {len} bytes of data, at most {limit} allowed in one extent")]
    TooLong { index: usize, len: u32, limit: u32 },
    #[error("extent {index}: {offset}+{len} is outside object {object} of {size} bytes")]
    OutsideObject {
        index: usize,
        object: u64,
        offset: u64,
        len: u32,
        size: u64,
    },
    #[error("extent {index}: a field that must be zero for its kind is not")]
    NotZero { index: usize },
    #[error("extent {index}: its bytes end at {end}, the payload at {payload}")]
    OutsidePayload {
        index: usize,
        end: u64,
        payload: usize,
    },
    #[error("extent {index}: bytes {offset}+{len} of object {object} do not match their digest")]
    BadDigest {
        index: usize,
        object: u64,
        offset: u64,
        len: u32,
    },
}

/// A checked batch over private memory.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    payload: &'a [u8],
    extents: Vec<Placed>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    extent: Extent,
    start: usize,
}

impl<'a> Batch<'a> {
    /// Checks `table` against `payload` and `limits`.
    ///
    /// Both must be private copies. Payload beyond the last data extent's bytes is ignored (a slot is
    /// rarely full). Digests are not computed here, see [`Batch::verify_digests`].
    pub fn parse(
        payload: &'a [u8],
        table: &[u8],
        limits: &BatchLimits,
    ) -> Result<Batch<'a>, BatchError> {
        let raw =
            <[RawExtent]>::ref_from_bytes(table).map_err(|_| BatchError::TornTable(table.len()))?;
        if raw.len() > limits.max_extents {
            return Err(BatchError::TooManyExtents {
                count: raw.len(),
                limit: limits.max_extents,
            });
        }
        let mut extents = Vec::with_capacity(raw.len());
        let (mut used, mut next) = (0usize, 0usize);
        for (index, raw) in raw.iter().enumerate() {
            let extent = check(index, raw, limits)?;
            let mut start = 0;
            if extent.payload_bytes() > 0 {
                start = next;
                let end = start as u64 + extent.payload_bytes() as u64;
                if end > payload.len() as u64 {
                    return Err(BatchError::OutsidePayload {
                        index,
                        end,
                        payload: payload.len(),
                    });
                }
                used = end as usize;
                if extent.kind == ExtentKind::Copy {
                    check_source(index, &extent, &payload[start..used], limits)?;
                }
                next = payload_start(used);
            }
            extents.push(Placed { extent, start });
        }
        Ok(Batch {
            payload,
            extents,
            used,
        })
    }

    /// The extents in table order, each with its bytes: a copy extent's are its [`CopySource`], zero and drop extents
    /// have none.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Extent, &'a [u8])> + '_ {
        self.extents.iter().map(|placed| {
            let end = placed.start + placed.extent.payload_bytes();
            (placed.extent, &self.payload[placed.start..end])
        })
    }

    /// Number of extents.
    pub fn len(&self) -> usize {
        self.extents.len()
    }

    /// Whether there is no extent at all.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The payload as far as extents use it.
    pub fn payload(&self) -> &'a [u8] {
        &self.payload[..self.used]
    }

    /// Computes every data extent's digest; the first that differs is the error. A copy extent's can be computed by
    /// whoever has the image.
    pub fn verify_digests(&self) -> Result<(), BatchError> {
        for (index, (extent, bytes)) in self.iter().enumerate() {
            if extent.kind == ExtentKind::Data && Digest::of(bytes) != extent.digest {
                let Extent {
                    object,
                    offset,
                    len,
                    ..
                } = extent;
                return Err(BatchError::BadDigest {
                    index,
                    object,
                    offset,
                    len,
                });
            }
        }
        Ok(())
    }
}

fn check(index: usize, raw: &RawExtent, limits: &BatchLimits) -> Result<Extent, BatchError> {
    let kind = ExtentKind::from_wire(raw.kind.get()).ok_or(BatchError::UnknownKind {
        index,
        kind: raw.kind.get(),
    })?;
    let extent = Extent {
        object: raw.object.get(),
        object_size: raw.object_size.get(),
        offset: raw.offset.get(),
        len: raw.len.get(),
        kind,
        digest: Digest::from_bytes(raw.digest),
    };
    if kind == ExtentKind::Copy && !limits.copies {
        let object = extent.object;
        return Err(BatchError::CopyOutsideStream { index, object });
    }
    if kind == ExtentKind::Drop {
        return if extent == Extent::drop_object(extent.object) {
            Ok(extent)
        } else {
            Err(BatchError::NotZero { index })
        };
    }
    if kind == ExtentKind::Zero && extent.digest != Digest::NONE {
        return Err(BatchError::NotZero { index });
    }
    let Extent {
        object,
        object_size: size,
        offset,
        len,
        ..
    } = extent;
    if size > limits.max_object_bytes {
        let limit = limits.max_object_bytes;
        return Err(BatchError::ObjectTooLarge {
            index,
            object,
            size,
            limit,
        });
    }
    if len == 0 {
        return Err(BatchError::Empty { index, object });
    }
    let has_bytes = matches!(kind, ExtentKind::Data | ExtentKind::Copy);
    if has_bytes && len > limits.max_data_bytes {
        return Err(BatchError::TooLong {
            index,
            len,
            limit: limits.max_data_bytes,
        });
    }
    match offset.checked_add(u64::from(len)) {
        Some(end) if end <= size => Ok(extent),
        _ => Err(BatchError::OutsideObject {
            index,
            object,
            offset,
            len,
            size,
        }),
    }
}

/// That the source could lie in some object; only whoever has the image knows whether it does.
fn check_source(
    index: usize,
    extent: &Extent,
    bytes: &[u8],
    limits: &BatchLimits,
) -> Result<(), BatchError> {
    let from = CopySource::from_payload(bytes).expect("as many bytes as a copy has");
    if extent.object == MANIFEST_OBJECT || from.object == MANIFEST_OBJECT {
        return Err(BatchError::CopyOfManifest { index });
    }
    match from.offset.checked_add(u64::from(extent.len)) {
        Some(end) if end <= limits.max_object_bytes => Ok(()),
        _ => Err(BatchError::CopySource {
            index,
            object: extent.object,
            offset: extent.offset,
            len: extent.len,
            from_object: from.object,
            from_offset: from.offset,
        }),
    }
}
