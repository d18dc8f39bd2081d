//! One object's map: which of its granules hold bytes, and their digests.

use std::collections::BTreeMap;
use std::ops::Range;

use channel::image::Digest;

/// Grain at which an object takes space, in bytes. Smaller runs of zeros are stored.
pub const GRANULE: u64 = 64 << 10;

const PAGE: u64 = 4096;

/// Where an object lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Medium {
    Memory,
    Disk,
}

/// An object's place and map. Granules that are not in the map are zeros.
#[derive(Debug)]
pub(super) struct Object {
    pub size: u64,
    pub medium: Medium,
    /// Offset of byte 0 in its store.
    pub base: u64,
    /// Granules with space, each with the digest of its bytes where that is known.
    granules: BTreeMap<u64, Option<Digest>>,
}

impl Object {
    pub fn new(size: u64, medium: Medium, base: u64) -> Object {
        Object {
            size,
            medium,
            base,
            granules: BTreeMap::new(),
        }
    }

    /// Bytes that an object of `size` addresses in its store: whole granules.
    pub fn addressed(size: u64) -> u64 {
        size.next_multiple_of(GRANULE)
    }

    /// The object's bytes that granule `index` covers.
    pub fn span(&self, index: u64) -> Range<u64> {
        index * GRANULE..((index + 1) * GRANULE).min(self.size)
    }

    /// Space that granule `index` takes, in whole pages.
    fn cost(&self, index: u64) -> u64 {
        let span = self.span(index);
        (span.end - span.start).next_multiple_of(PAGE)
    }

    /// Indices of the granules that `run` (not empty) touches.
    pub fn touched(run: &Range<u64>) -> Range<u64> {
        run.start / GRANULE..run.end.div_ceil(GRANULE)
    }

    /// Runs of granules within `run` that have no space yet, as byte ranges of the object, and what all
    /// of them would take.
    pub fn missing(&self, run: &Range<u64>) -> (Vec<Range<u64>>, u64) {
        let (mut runs, mut bytes) = (Vec::<Range<u64>>::new(), 0);
        for index in Self::touched(run).filter(|index| !self.granules.contains_key(index)) {
            bytes += self.cost(index);
            append(&mut runs, self.span(index));
        }
        (runs, bytes)
    }

    /// Runs of `run` that have space, as byte ranges of the object.
    pub fn present(&self, run: &Range<u64>) -> Vec<Range<u64>> {
        let mut runs = Vec::new();
        for (&index, _) in self.granules.range(Self::touched(run)) {
            let span = self.span(index);
            append(&mut runs, span.start.max(run.start)..span.end.min(run.end));
        }
        runs
    }

    /// All granules that have space, as byte ranges of the object.
    pub fn all_present(&self) -> Vec<Range<u64>> {
        self.present(&(0..self.size.max(1)))
    }

    /// The granule has space now, and its bytes this digest, if known.
    pub fn set(&mut self, index: u64, digest: Option<Digest>) {
        self.granules.insert(index, digest);
    }

    /// The bytes of the granule are known to have this digest, as long as it has space.
    pub fn note(&mut self, index: u64, digest: Digest) {
        if let Some(noted) = self.granules.get_mut(&index) {
            *noted = Some(digest);
        }
    }

    /// The granule's bytes changed in a way not followed; no change if it has no space.
    pub fn forget_digest(&mut self, index: u64) {
        if let Some(digest) = self.granules.get_mut(&index) {
            *digest = None;
        }
    }

    /// The granule lost its space; returns what that was.
    pub fn clear(&mut self, index: u64) -> u64 {
        match self.granules.remove(&index) {
            Some(_) => self.cost(index),
            None => 0,
        }
    }

    /// Granules with known digests that lie whole within `run`.
    pub fn digests(&self, run: &Range<u64>) -> impl Iterator<Item = (Range<u64>, Digest)> {
        let whole = |span: &Range<u64>| run.start <= span.start && span.end <= run.end;
        self.granules
            .range(Self::touched(run))
            .filter_map(|(&index, digest)| digest.map(|digest| (self.span(index), digest)))
            .filter(move |(span, _)| whole(span))
    }

    /// Space the object takes in all.
    pub fn stored(&self) -> u64 {
        self.granules.keys().map(|&index| self.cost(index)).sum()
    }
}

/// Appends a run, as part of the last one where they touch.
fn append(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}
