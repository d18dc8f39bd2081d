//! Dividing candidates into segments, and a segment's flags into runs of chunks. Plain arithmetic, no driver.

use super::chunk::{CHUNK_BYTES, GROUP, GROUP_FLAGS};

/// A range of one buffer's chunks that one launch compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// The buffer's place among the candidates.
    pub(super) buffer: usize,
    pub(super) first: u32,
    pub(super) end: u32,
    /// First of its groups in the segment's flags.
    pub(super) flags_at: u32,
}

impl Part {
    /// This part's flags within the segment's.
    pub(super) fn flags<'f>(&self, flags: &'f [u8]) -> &'f [u8] {
        let groups = (self.end - self.first).div_ceil(GROUP) as usize;
        &flags[self.flags_at as usize * GROUP_FLAGS..][..groups * GROUP_FLAGS]
    }
}

/// What is compared before the host looks at the flags.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Segment {
    pub(super) parts: Vec<Part>,
    pub(super) groups: u32,
}

/// Divides buffers of the given numbers of chunks into segments of at most `max_groups` groups.
pub(super) fn segments(chunks: impl IntoIterator<Item = u32>, max_groups: u32) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut open = Segment::default();
    for (buffer, chunks) in chunks.into_iter().enumerate() {
        let mut first = 0;
        while first < chunks {
            if open.groups == max_groups {
                segments.push(std::mem::take(&mut open));
            }
            let groups = (chunks - first)
                .div_ceil(GROUP)
                .min(max_groups - open.groups);
            // No overflow: `chunks` is at most 2³¹.
            let end = chunks.min(first + groups * GROUP);
            open.parts.push(Part {
                buffer,
                first,
                end,
                flags_at: open.groups,
            });
            open.groups += groups;
            first = end;
        }
    }
    if open.groups > 0 {
        segments.push(open);
    }
    segments
}

/// Neighbouring chunks that all changed, and are all zero or all not known to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) zero: bool,
}

impl Run {
    /// Bytes of it in a buffer of `size` bytes.
    pub(super) fn bytes(self, size: u64) -> u64 {
        let start = u64::from(self.first) * CHUNK_BYTES as u64;
        (u64::from(self.count) * CHUNK_BYTES as u64).min(size - start)
    }
}

/// The runs that a part's flags tell, in order. A group's flags are two bytes, a bit a chunk: changed, zero.
pub(super) struct Runs<'f> {
    flags: &'f [u8],
    /// Next chunk to look at, counted from the part's first.
    at: u32,
    count: u32,
    base: u32,
}

impl<'f> Runs<'f> {
    /// `flags` are those of the chunks `first .. end`.
    pub(super) fn new(flags: &'f [u8], first: u32, end: u32) -> Runs<'f> {
        Runs {
            flags,
            at: 0,
            count: end - first,
            base: first,
        }
    }

    fn group(&self) -> (u8, u8) {
        let at = (self.at / GROUP) as usize * GROUP_FLAGS;
        (self.flags[at], self.flags[at + 1])
    }

    /// Goes on to the next changed chunk; whether it is zero.
    fn skip_unchanged(&mut self) -> Option<bool> {
        while self.at < self.count {
            if self.at.is_multiple_of(4 * GROUP) {
                // Four groups at once: most are unchanged.
                let rest = &self.flags[(self.at / GROUP) as usize * GROUP_FLAGS..];
                if rest.first_chunk() == Some(&[0; 4 * GROUP_FLAGS]) {
                    self.at += 4 * GROUP;
                    continue;
                }
            }
            let (changed, zero) = self.group();
            let left = changed >> (self.at % GROUP);
            if left == 0 {
                self.at += GROUP - self.at % GROUP;
                continue;
            }
            self.at += left.trailing_zeros();
            return (self.at < self.count).then_some(zero >> (self.at % GROUP) & 1 == 1);
        }
        None
    }

    /// Goes on behind the chunks that are like the present one.
    fn skip_like(&mut self, zero: bool) {
        while self.at < self.count {
            let (changed, zeros) = self.group();
            let like = if zero { zeros } else { changed & !zeros };
            let more = (like >> (self.at % GROUP)).trailing_ones();
            self.at += more;
            if more == 0 || !self.at.is_multiple_of(GROUP) {
                break;
            }
        }
        self.at = self.at.min(self.count);
    }
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let zero = self.skip_unchanged()?;
        let first = self.at;
        self.skip_like(zero);
        Some(Run {
            first: self.base + first,
            count: self.at - first,
            zero,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_chunk_once_and_keep_to_the_limit() {
        for max_groups in [1, 2, 3, 7, 100] {
            let chunks = [1, 8, 0, 9, 100, 3, 16, 17];
            let mut next = [0; 8];
            for segment in segments(chunks, max_groups) {
                assert!(segment.groups <= max_groups && segment.groups > 0);
                let mut flags_at = 0;
                for part in &segment.parts {
                    assert_eq!(part.flags_at, flags_at);
                    flags_at += (part.end - part.first).div_ceil(GROUP);
                    assert_eq!(part.first, next[part.buffer]);
                    assert!(part.end > part.first);
                    next[part.buffer] = part.end;
                }
                assert_eq!(flags_at, segment.groups);
            }
            assert_eq!(next, chunks);
        }
    }

    /// Chunk by chunk, against which the iterator is checked.
    fn slow(kinds: &[u8], base: u32) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (i, &kind) in kinds.iter().enumerate() {
            let (chunk, zero) = (base + i as u32, kind == 2);
            match runs.last_mut() {
                Some(run) if kind > 0 && run.first + run.count == chunk && run.zero == zero => {
                    run.count += 1;
                }
                _ if kind > 0 => runs.push(Run {
                    first: chunk,
                    count: 1,
                    zero,
                }),
                _ => {}
            }
        }
        runs
    }

    #[test]
    fn runs_agree_with_a_walk_chunk_by_chunk() {
        let mut state = 0x1234_5678_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for round in 0..3000 {
            let count = 1 + random(300);
            let (stay, mut kind) = (1 + random(60), 0);
            let kinds: Vec<u8> = (0..count)
                .map(|_| {
                    if random(stay) == 0 {
                        kind = random(3) as u8;
                    }
                    kind
                })
                .collect();
            let mut flags = vec![0; kinds.len().div_ceil(8) * GROUP_FLAGS];
            for (i, &kind) in kinds.iter().enumerate() {
                flags[i / 8 * 2] |= u8::from(kind > 0) << (i % 8);
                flags[i / 8 * 2 + 1] |= u8::from(kind == 2) << (i % 8);
            }
            let base = 8 * random(1000);
            let found: Vec<Run> = Runs::new(&flags, base, base + count).collect();
            assert_eq!(found, slow(&kinds, base), "round {round}");
        }
    }
}
