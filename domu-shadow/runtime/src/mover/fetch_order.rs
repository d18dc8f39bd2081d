//! Which piece comes next.
//!
//! What somebody waits for comes before everything else, also before the rest of an object that has begun: hence the
//! pieces.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// A part of an object that is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRange {
    /// The object's id.
    pub object: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl FetchRange {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len
    }
}

/// One object on its way.
struct Coming<T: ?Sized> {
    object: Weak<T>,
    /// Not asked for yet.
    missing: VecDeque<Range<u64>>,
    /// Asked for.
    under_way: Vec<Range<u64>>,
}

/// What is still to come, and in which order.
pub(super) struct FetchOrder<T: ?Sized> {
    coming: BTreeMap<u64, Coming<T>>,
    /// Ids, those used last first.
    order: VecDeque<u64>,
}

impl<T: ?Sized> FetchOrder<T> {
    /// Of objects with their sizes (1 byte or more), the first to come first.
    pub(super) fn new<'t>(
        objects: impl IntoIterator<Item = (u64, u64, &'t Arc<T>)>,
    ) -> FetchOrder<T>
    where
        T: 't,
    {
        let mut plan = FetchOrder {
            coming: BTreeMap::new(),
            order: VecDeque::new(),
        };
        for (id, size, object) in objects {
            let coming = Coming {
                object: Arc::downgrade(object),
                missing: std::iter::once(0..size).collect(),
                under_way: Vec::new(),
            };
            plan.coming.insert(id, coming);
            plan.order.push_back(id);
        }
        plan
    }

    /// The next piece of one object, unless all of it is asked for; the program may have released it.
    fn piece_of(&mut self, object: u64, most: u64) -> Option<FetchRange> {
        let coming = self.coming.get_mut(&object)?;
        if coming.object.strong_count() == 0 {
            coming.missing.clear();
            return None;
        }
        let range = coming.missing.front_mut()?;
        let piece = FetchRange {
            object,
            offset: range.start,
            len: most.min(range.end - range.start),
        };
        range.start += piece.len;
        if range.is_empty() {
            coming.missing.pop_front();
        }
        coming.under_way.push(piece.range());
        Some(piece)
    }

    pub(super) fn next(&mut self, wanted: &[u64], most: u64) -> Option<FetchRange> {
        if let Some(piece) = wanted.iter().find_map(|id| self.piece_of(*id, most)) {
            return Some(piece);
        }
        while let Some(object) = self.order.front().copied() {
            if let Some(piece) = self.piece_of(object, most) {
                return Some(piece);
            }
            self.order.pop_front();
        }
        None
    }

    /// A piece is there; the object, if it was its last one and the program still has it.
    pub(super) fn done(&mut self, piece: &FetchRange) -> Option<Arc<T>> {
        let coming = self.coming.get_mut(&piece.object)?;
        coming.under_way.retain(|range| *range != piece.range());
        if !coming.missing.is_empty() || !coming.under_way.is_empty() {
            return None;
        }
        self.coming.remove(&piece.object)?.object.upgrade()
    }

    /// What was asked for did not come: it is to be asked for again.
    pub(super) fn rewind(&mut self) {
        for (object, coming) in &mut self.coming {
            if !coming.under_way.is_empty() {
                coming.missing.extend(coming.under_way.drain(..));
                coming.missing = joined(coming.missing.drain(..).collect());
            }
            if !coming.missing.is_empty() && !self.order.contains(object) {
                self.order.push_front(*object);
            }
        }
    }
}

/// The same bytes in order, in as few ranges as there can be.
fn joined(mut ranges: Vec<Range<u64>>) -> VecDeque<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: VecDeque<Range<u64>> = VecDeque::new();
    for range in ranges {
        match joined.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push_back(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SIZES: [u64; 5] = [1, 7, 64, 200, 33];

    fn plan() -> (FetchOrder<()>, Vec<Option<Arc<()>>>) {
        let objects: Vec<_> = SIZES.iter().map(|_| Arc::new(())).collect();
        let sized = SIZES.iter().zip(&objects);
        let plan = FetchOrder::new(
            (1..)
                .zip(sized)
                .map(|(id, (size, object))| (id, *size, object)),
        );
        (plan, objects.into_iter().map(Some).collect())
    }

    proptest! {
        /// Whatever is wanted, released or breaks off: every byte of every object that still lives is written, none is
        /// asked for twice at a time, and an object is complete exactly when its last piece is.
        #[test]
        fn everything_comes(ops in prop::collection::vec((0u8..8, any::<usize>()), 0..200)) {
            let (mut plan, mut objects) = plan();
            let mut flying: Vec<FetchRange> = Vec::new();
            let mut written: Vec<BTreeSet<u64>> = SIZES.iter().map(|_| BTreeSet::new()).collect();
            let mut wanted: Vec<u64> = Vec::new();
            let mut complete: BTreeSet<u64> = BTreeSet::new();
            let rest = [(0_u8, 0_usize), (4, 0)];
            let rest = rest.into_iter().cycle().take(2000);
            for (op, which) in ops.into_iter().chain(rest) {
                match op {
                    0..4 => {
                        let wants = wanted.iter().any(|id| {
                            objects[*id as usize - 1].is_some() && plan.coming.get(id).is_some_and(|c| !c.missing.is_empty())
                        });
                        let Some(piece) = plan.next(&wanted, 9) else { continue };
                        prop_assert!(!wants || wanted.contains(&piece.object), "a wanted one was not first");
                        prop_assert!(piece.len >= 1 && piece.len <= 9);
                        prop_assert!(piece.offset + piece.len <= SIZES[piece.object as usize - 1]);
                        for other in &flying {
                            let apart = other.object != piece.object
                                || other.offset >= piece.offset + piece.len
                                || piece.offset >= other.offset + other.len;
                            prop_assert!(apart, "asked for twice");
                        }
                        flying.push(piece);
                    }
                    4 | 5 if !flying.is_empty() => {
                        let piece = flying.swap_remove(which % flying.len());
                        let at = piece.object as usize - 1;
                        written[at].extend(piece.range());
                        let all = written[at].len() as u64 == SIZES[at];
                        let done = plan.done(&piece).is_some();
                        prop_assert_eq!(done, all && objects[at].is_some());
                        if done {
                            prop_assert!(complete.insert(piece.object), "complete twice");
                        }
                    }
                    6 => {
                        flying.clear();
                        plan.rewind();
                    }
                    7 => match which % 10 {
                        0 => objects[which / 10 % SIZES.len()] = None,
                        at => wanted = vec![(at % SIZES.len()) as u64 + 1],
                    },
                    _ => {}
                }
            }
            for (at, object) in objects.iter().enumerate() {
                prop_assert!(object.is_none() || complete.contains(&(at as u64 + 1)), "object {} never came", at + 1);
            }
        }
    }
}
