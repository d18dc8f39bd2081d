//! Laying a batch out, in private memory or in a slot of the shared area.

use zerocopy::IntoBytes;

use super::digest::Digest;
use super::extent::{CopySource, EXTENT_BYTES, Extent, payload_start};

/// Where an extent went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Its place in the table.
    pub index: usize,
    /// Where its bytes start in the payload (for extents without: where the next would).
    pub start: usize,
}

/// Plans a batch without touching the payload: the bytes may arrive later, by DMA say.
#[derive(Clone, Debug)]
pub struct BatchLayout {
    payload_capacity: usize,
    max_extents: usize,
    extents: Vec<Extent>,
    used: usize,
}

impl BatchLayout {
    /// An empty plan for at most `payload_capacity` bytes and `max_extents` extents; for a slot its
    /// payload size and its table's extents ([`crate::layout::Layout`]).
    pub fn new(payload_capacity: usize, max_extents: usize) -> BatchLayout {
        BatchLayout {
            payload_capacity,
            max_extents,
            extents: Vec::new(),
            used: 0,
        }
    }

    /// Bytes the next data extent could have: 0 when table or payload is full.
    pub fn room(&self) -> usize {
        if self.extents.len() >= self.max_extents {
            return 0;
        }
        self.payload_capacity
            .saturating_sub(payload_start(self.used))
    }

    /// Adds `extent`; `None` when it does not fit, and then nothing changed.
    ///
    /// A data extent may be added before its bytes exist: give it [`Digest::NONE`], write the bytes at the
    /// returned start, then call [`BatchLayout::set_digest`].
    pub fn push(&mut self, extent: Extent) -> Option<Placement> {
        if self.extents.len() >= self.max_extents || extent.payload_bytes() > self.payload_capacity
        {
            return None;
        }
        let placement = Placement {
            index: self.extents.len(),
            start: payload_start(self.used),
        };
        if extent.payload_bytes() > 0 {
            let end = placement.start + extent.payload_bytes();
            if end > self.payload_capacity {
                return None;
            }
            self.used = end;
        }
        self.extents.push(extent);
        Some(placement)
    }

    /// Sets the digest of the extent at `index` once its bytes are known.
    ///
    /// # Panics
    /// When no extent has that index.
    pub fn set_digest(&mut self, index: usize, digest: Digest) {
        self.extents[index].digest = digest;
    }

    /// The extents so far, in table order.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Bytes of payload used so far.
    pub fn payload_len(&self) -> usize {
        self.used
    }

    /// Whether there is no extent yet.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The table's octets.
    pub fn table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(self.extents.len() * EXTENT_BYTES);
        for extent in &self.extents {
            table.extend_from_slice(extent.to_wire().as_bytes());
        }
        table
    }

    /// Forgets all extents, to plan the next batch.
    pub fn clear(&mut self) {
        self.extents.clear();
        self.used = 0;
    }
}

/// Builds a whole batch in private memory.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    layout: BatchLayout,
    payload: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch of at most `payload_capacity` bytes and `max_extents` extents.
    pub fn new(payload_capacity: usize, max_extents: usize) -> BatchBuilder {
        BatchBuilder {
            layout: BatchLayout::new(payload_capacity, max_extents),
            payload: Vec::new(),
        }
    }

    /// Adds the run of `object` at `offset` with its bytes; `false` when it does not fit.
    #[must_use]
    pub fn push_data(&mut self, object: u64, object_size: u64, offset: u64, bytes: &[u8]) -> bool {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return false;
        };
        let extent = Extent::data(object, object_size, offset, len, Digest::of(bytes));
        self.push(extent, bytes)
    }

    /// Adds a run of `object` at `offset` whose bytes, with this digest, stand at `from` before; `false` when it does
    /// not fit.
    #[must_use]
    pub fn push_copy(
        &mut self,
        object: u64,
        object_size: u64,
        offset: u64,
        len: u32,
        digest: Digest,
        from: CopySource,
    ) -> bool {
        let extent = Extent::copy(object, object_size, offset, len, digest);
        self.push(extent, &from.to_payload())
    }

    /// Adds an extent, whose digest is right, with what it has in the payload; `false` when it does not fit.
    #[must_use]
    pub fn push(&mut self, extent: Extent, payload: &[u8]) -> bool {
        debug_assert_eq!(extent.payload_bytes(), payload.len());
        let Some(placement) = self.layout.push(extent) else {
            return false;
        };
        if !payload.is_empty() {
            self.payload.resize(placement.start, 0);
            self.payload.extend_from_slice(payload);
        }
        true
    }

    /// Adds a run of zeros; `false` when the table is full.
    #[must_use]
    pub fn push_zero(&mut self, object: u64, object_size: u64, offset: u64, len: u32) -> bool {
        self.layout
            .push(Extent::zero(object, object_size, offset, len))
            .is_some()
    }

    /// Ends an object; `false` when the table is full.
    #[must_use]
    pub fn push_drop(&mut self, object: u64) -> bool {
        self.layout.push(Extent::drop_object(object)).is_some()
    }

    /// Bytes the next data extent could have.
    pub fn room(&self) -> usize {
        self.layout.room()
    }

    /// Number of extents so far.
    pub fn len(&self) -> usize {
        self.layout.extents().len()
    }

    /// Whether there is no extent yet.
    pub fn is_empty(&self) -> bool {
        self.layout.is_empty()
    }

    /// The payload so far.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The table's octets so far.
    pub fn table(&self) -> Vec<u8> {
        self.layout.table()
    }

    /// The payload and the extents.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Extent>) {
        (self.payload, self.layout.extents)
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.layout.clear();
        self.payload.clear();
    }
}
