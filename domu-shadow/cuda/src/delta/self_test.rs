//! Whether the device computes what the kernels say, found out before anything depends on it.
//!
//! A wrong copy is a loss that nobody notices: the digest is that of the copy. And compilers do err. So both kernels first work on bytes
//! known to the host, at an aligned address and at an odd one, and every byte they answer must be the one that this file works
//! out.

use std::ops::Range;

use runtime::delta::chunk::{CHUNK_BYTES, GROUP, GROUP_FLAGS};
use runtime::delta::device::{Compare, Event as _, Result};
use runtime::delta::digest::{ChunkDigest, Secret};
use runtime::delta::window::Entry;

use super::kernels::{Kernels, Source};
use super::unavailable::Unavailable;
use crate::abi::CUdeviceptr;
use crate::beside::home::Home;
use crate::beside::memory::Memory;
use crate::beside::stream::Stream;

/// Whole chunks of the sample: a group of detect and a part of another.
const WHOLE: u32 = 11;
const CHUNKS: u32 = WHOLE + 1;
/// Bytes of the chunk behind them: what is copied next to it is not 16-byte aligned.
const TAIL: usize = 1041;
const SIZE: usize = WHOLE as usize * CHUNK_BYTES + TAIL;
/// Chunks of zeros.
const ZEROS: [u32; 3] = [2, 7, 9];
/// What lies where nothing may be written.
const FILLER: u8 = 0xa5;
const FLAGS_AT: u32 = 3;
const FLAG_BYTES: usize = (FLAGS_AT as usize + 2) * GROUP_FLAGS + 64;
/// What gather copies: out of order, the short chunk amid the others and, with nothing behind it, last.
const LISTED: [u32; 8] = [4, 7, WHOLE, 3, 0, 2, 10, WHOLE];
/// Entries behind those of the launch.
const NOT_LISTED: [u32; 2] = [6, 8];
const COPY_BYTES: usize = (LISTED.len() + NOT_LISTED.len() + 1) * CHUNK_BYTES;

/// # Errors
/// `Wrong` where an answer is not the right one, the driver's own.
pub(super) fn check(
    home: &Home,
    kernels: &Kernels,
    stream: &Stream,
    secret: &Secret,
) -> std::result::Result<(), Unavailable> {
    let sample = Sample::new(home, stream, secret)?;
    sample.place(0)?;
    sample.detect(kernels, Compare::Only, 1..CHUNKS)?;
    sample.detect(kernels, Compare::AndSend, 0..CHUNKS)?;
    sample.detect(kernels, Compare::Fresh, 5..10)?;
    sample.gather(kernels, &LISTED)?;
    sample.place(5)?;
    sample.detect(kernels, Compare::AndSend, 9..CHUNKS)?;
    sample.gather(kernels, &[WHOLE, 2, 4])
}

/// A block with a table, both on the device and here.
struct Sample<'s> {
    stream: &'s Stream,
    bytes: Vec<u8>,
    digests: Vec<ChunkDigest>,
    /// Some chunks' digests, others' with one bit changed.
    table: Vec<ChunkDigest>,
    memory: Memory,
    /// Where in it the block begins.
    shift: std::cell::Cell<usize>,
}

/// Where in the memory its parts begin.
const TABLE_AT: usize = (SIZE + 16).next_multiple_of(256);
const ENTRIES_AT: usize = TABLE_AT + (CHUNKS as usize * 16).next_multiple_of(256);
const ANSWER_AT: usize = ENTRIES_AT + 256;
const BYTES: usize = ANSWER_AT
    + if COPY_BYTES > FLAG_BYTES {
        COPY_BYTES
    } else {
        FLAG_BYTES
    };

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        if !self.stream.has_ended() {
            self.memory.leak();
        }
    }
}

impl<'s> Sample<'s> {
    fn new(home: &Home, stream: &'s Stream, secret: &Secret) -> Result<Sample<'s>> {
        let mut bytes: Vec<u8> = (0..SIZE as u64).map(mixed).collect();
        for zero in ZEROS {
            bytes[whole(zero)].fill(0);
        }
        let digests: Vec<ChunkDigest> = bytes
            .chunks(CHUNK_BYTES)
            .map(|c| secret.digest(c))
            .collect();
        let mut table = digests.clone();
        for (i, digest) in table.iter_mut().enumerate().filter(|(i, _)| i % 3 != 0) {
            digest.0[i % 4] ^= 1 << (7 * i % 32);
        }
        Ok(Sample {
            stream,
            memory: Memory::new(home, BYTES)?,
            bytes,
            digests,
            table,
            shift: std::cell::Cell::new(0),
        })
    }

    fn at(&self, offset: usize) -> CUdeviceptr {
        self.memory.at() + offset as CUdeviceptr
    }

    fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        // SAFETY: the memory is the sample's, and the write is waited for.
        unsafe {
            self.stream
                .write(self.at(offset), bytes.as_ptr(), bytes.len())
        }?
        .wait()
    }

    /// Has the block begin at `shift`.
    fn place(&self, shift: usize) -> Result<()> {
        self.shift.set(shift);
        self.write(shift, &self.bytes)
    }

    fn source(&self) -> Source {
        Source {
            at: self.at(self.shift.get()),
            size: SIZE as u64,
            table: self.at(TABLE_AT),
        }
    }

    /// Table and answer as they were before any kernel ran.
    fn reset(&self, answer_bytes: usize) -> Result<()> {
        self.write(TABLE_AT, &flat(&self.table))?;
        self.write(ANSWER_AT, &vec![FILLER; answer_bytes])
    }

    /// Whether table and answer are now these.
    fn compare(
        &self,
        (table, answer): (&[ChunkDigest], &[u8]),
        what: impl FnOnce() -> String,
    ) -> std::result::Result<(), Unavailable> {
        let differs = |name: &str, offset: usize, wanted: &[u8]| -> Result<Option<String>> {
            let mut got = vec![0_u8; wanted.len()];
            // SAFETY: the memory is the sample's, and the read is waited for.
            unsafe {
                self.stream
                    .read(got.as_mut_ptr(), self.at(offset), got.len(), false)
            }?
            .wait()?;
            let at = got.iter().zip(wanted).position(|(got, want)| got != want);
            Ok(at.map(|at| {
                let (got, wanted) = (got[at], wanted[at]);
                format!("byte {at} of the {name} is {got:#04x}, not {wanted:#04x}")
            }))
        };
        let wrong = match differs("answer", ANSWER_AT, answer)? {
            None => differs("table", TABLE_AT, &flat(table))?,
            wrong => wrong,
        };
        wrong.map_or(Ok(()), |wrong| {
            Err(Unavailable::Wrong(format!("{}: {wrong}", what())))
        })
    }

    fn detect(
        &self,
        kernels: &Kernels,
        compare: Compare,
        chunks: Range<u32>,
    ) -> std::result::Result<(), Unavailable> {
        let groups = chunks.len().div_ceil(GROUP as usize);
        let mut flags = vec![FILLER; FLAG_BYTES];
        let ours = GROUP_FLAGS * FLAGS_AT as usize..GROUP_FLAGS * (FLAGS_AT as usize + groups);
        flags[ours.clone()].fill(0);
        let mut table = self.table.clone();
        for chunk in chunks.clone() {
            let at = chunk as usize;
            if compare != Compare::Fresh && table[at] == self.digests[at] {
                continue;
            }
            let (group, bit) = (
                (chunk - chunks.start) / GROUP,
                (chunk - chunks.start) % GROUP,
            );
            let group = &mut flags[ours.clone()][GROUP_FLAGS * group as usize..];
            group[0] |= 1 << bit;
            if ZEROS.contains(&chunk) {
                group[1] |= 1 << bit;
                if compare != Compare::Only {
                    table[at] = self.digests[at];
                }
            }
        }
        self.reset(FLAG_BYTES)?;
        let (range, answer) = ((chunks.start, chunks.end), self.at(ANSWER_AT));
        // SAFETY: all of it is the sample's memory, with room for what the kernel does, and the kernel is waited for.
        unsafe {
            kernels.detect(
                self.stream,
                self.source(),
                range,
                answer,
                FLAGS_AT,
                compare,
                false,
            )
        }?
        .wait()?;
        self.compare((&table, &flags), || {
            let shift = self.shift.get();
            format!("detect, {compare:?}, shifted by {shift}, chunks {chunks:?}")
        })
    }

    fn gather(&self, kernels: &Kernels, listed: &[u32]) -> std::result::Result<(), Unavailable> {
        let mut copies = vec![FILLER; COPY_BYTES];
        let mut table = self.table.clone();
        // The first entry is one of a launch before.
        let mut entries = vec![Entry::default()];
        let mut to = 8;
        for &chunk in listed {
            entries.push(Entry {
                chunk,
                to: to as u32 / 8,
            });
            let bytes = self.bytes.chunks(CHUNK_BYTES).nth(chunk as usize);
            let bytes = bytes.unwrap_or(&[]);
            copies[to..to + bytes.len()].copy_from_slice(bytes);
            let next = to + bytes.len().next_multiple_of(8);
            copies[to + bytes.len()..next].fill(0);
            to = next;
            table[chunk as usize] = self.digests[chunk as usize];
        }
        let end = entries.len() as u32;
        for (chunk, n) in NOT_LISTED.into_iter().zip(0..) {
            let to = (to.next_multiple_of(16) + n * CHUNK_BYTES) as u32 / 8;
            entries.push(Entry { chunk, to });
        }
        let listing: Vec<u8> = entries
            .iter()
            .flat_map(|entry| [entry.chunk, entry.to])
            .flat_map(u32::to_le_bytes)
            .collect();
        self.reset(COPY_BYTES)?;
        self.write(ENTRIES_AT, &listing)?;
        let (entries, answer) = (self.at(ENTRIES_AT), self.at(ANSWER_AT));
        // SAFETY: as for `detect`.
        unsafe { kernels.gather(self.stream, self.source(), entries, (1, end), answer, false) }?
            .wait()?;
        self.compare((&table, &copies), || {
            format!("gather, shifted by {}", self.shift.get())
        })
    }
}

fn flat(table: &[ChunkDigest]) -> Vec<u8> {
    let words = table.iter().flat_map(|digest| digest.0);
    words.flat_map(u32::to_le_bytes).collect()
}

fn whole(chunk: u32) -> Range<usize> {
    let at = chunk as usize * CHUNK_BYTES;
    at..at + CHUNK_BYTES
}

/// Byte `at` of the sample: of no period, so that no thread's bytes stand for another's (`SplitMix64`'s mixing).
fn mixed(at: u64) -> u8 {
    let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u8
}
