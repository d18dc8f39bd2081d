//! A sink that keeps the image: what a receiver would have, and checks on every piece.

use std::collections::BTreeMap;

use channel::guest::StepError;
use channel::image::{BatchLayout, Digest, Extent as Wire};
use runtime::delta::{CHUNK_BYTES, ExtentKind, FilledPlace, Place, Sink};

use crate::rig::Random;

struct Spot {
    memory: *mut [u8],
    max_extents: usize,
}

/// Places of all sizes, and the image.
pub struct Image {
    pub buffers: BTreeMap<u64, Vec<u8>>,
    /// Extents delivered since [`Image::begin`].
    pub extents: Vec<(u64, u64, u32, ExtentKind)>,
    lent: BTreeMap<u64, Spot>,
    next: u64,
    random: Random,
    /// Most places out at a time.
    places: usize,
    /// Fails at this many deliveries.
    pub fail_after: Option<u64>,
}

impl Image {
    pub fn new(seed: u64, places: usize) -> Image {
        Image {
            buffers: BTreeMap::new(),
            extents: Vec::new(),
            lent: BTreeMap::new(),
            next: 0,
            random: Random::new(seed),
            places,
            fail_after: None,
        }
    }

    #[allow(dead_code, reason = "not every test names its buffers first")]
    pub fn add(&mut self, id: u64, size: usize) {
        // Not what a device would hold by chance: zero extents must arrive too.
        self.buffers.insert(id, vec![0xa5; size]);
    }

    /// Forgets the extents of the last pass.
    pub fn begin(&mut self) {
        self.extents.clear();
        self.drop_places();
    }

    fn drop_places(&mut self) {
        for (_, spot) in std::mem::take(&mut self.lent) {
            // SAFETY: made by `Box::into_raw` in `place`; no pass runs.
            drop(unsafe { Box::from_raw(spot.memory) });
        }
    }

    /// Bytes delivered since [`Image::begin`].
    pub fn bytes(&self, kind: ExtentKind) -> u64 {
        let of_kind = self.extents.iter().filter(|extent| extent.3 == kind);
        of_kind.map(|extent| u64::from(extent.2)).sum()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.drop_places();
    }
}

impl Sink for Image {
    fn place(&mut self) -> Result<Option<Place>, StepError> {
        if self.lent.len() >= self.places || self.random.below(8) == 0 {
            return Ok(None);
        }
        let capacity = CHUNK_BYTES + self.random.below(5 * CHUNK_BYTES as u64) as usize;
        let max_extents = 1 + self.random.below(6) as usize;
        let memory = Box::into_raw(vec![0xee_u8; capacity].into_boxed_slice());
        self.next += 1;
        self.lent.insert(
            self.next,
            Spot {
                memory,
                max_extents,
            },
        );
        // SAFETY: the box is freed when its piece is delivered, or between passes.
        let place = unsafe { Place::new(self.next, memory.cast(), capacity, max_extents) };
        Ok(Some(place))
    }

    fn deliver(&mut self, piece: FilledPlace) -> Result<(), StepError> {
        if let Some(left) = &mut self.fail_after {
            if *left == 0 {
                return Err(StepError::failed("the receiver is gone"));
            }
            *left -= 1;
        }
        let spot = self
            .lent
            .remove(&piece.token)
            .expect("a place of ours, once");
        // SAFETY: made by `Box::into_raw` in `place`, delivered once.
        let bytes = unsafe { Box::from_raw(spot.memory) };
        // The channel's own layout must put each extent where the engine put it.
        let mut batch = BatchLayout::new(bytes.len(), spot.max_extents);
        for extent in &piece.extents {
            let (size, len) = (extent.buffer_size, extent.len as usize);
            let object = self.buffers.entry(extent.buffer);
            // Not what a device would hold by chance: zero extents must arrive too.
            let object = object.or_insert_with(|| vec![0xa5; size as usize]);
            assert_eq!(object.len() as u64, size);
            assert!(extent.len > 0 && extent.offset + u64::from(extent.len) <= size);
            let wire = match extent.kind {
                ExtentKind::Data => {
                    Wire::data(extent.buffer, size, extent.offset, extent.len, Digest::NONE)
                }
                ExtentKind::Zero => Wire::zero(extent.buffer, size, extent.offset, extent.len),
            };
            let placement = batch.push(wire).expect("the piece keeps to its place");
            let target = &mut object[extent.offset as usize..][..len];
            match extent.kind {
                ExtentKind::Data => target.copy_from_slice(&bytes[placement.start..][..len]),
                ExtentKind::Zero => target.fill(0),
            }
            self.extents
                .push((extent.buffer, extent.offset, extent.len, extent.kind));
        }
        assert_eq!(piece.payload_len, batch.payload_len());
        assert!(!piece.extents.is_empty());
        // Nothing is written beyond the payload but the padding of a short end.
        let beyond = piece.payload_len.next_multiple_of(8).min(bytes.len());
        assert!(bytes[beyond..].iter().all(|&byte| byte == 0xee));
        Ok(())
    }
}

impl Image {
    /// That no byte came twice in one pass.
    pub fn assert_no_byte_twice(&self) {
        let mut extents = self.extents.clone();
        extents.sort_unstable_by_key(|extent| (extent.0, extent.1));
        for pair in extents.windows(2) {
            let ends = pair[0].1 + u64::from(pair[0].2);
            assert!(pair[0].0 != pair[1].0 || ends <= pair[1].1, "{pair:?}");
        }
    }
}
