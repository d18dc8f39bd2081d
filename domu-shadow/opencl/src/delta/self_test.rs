//! Whether the device computes what the kernels say, found out before anything depends on it.
//!
//! A wrong copy is a loss that nobody notices: the digest is that of the copy. And compilers do err: of an earlier `gather`
//! pocl 5.0 made wrong code in every third compilation, at random, in which all items copied the first one's vector. So both
//! kernels first work on bytes known to the host, in each of their modes, and every byte they answer must be the one that
//! this file works out.

use std::ffi::c_void;

use runtime::delta::chunk::{CHUNK_BYTES, GROUP, GROUP_FLAGS};
use runtime::delta::device::{Compare, Result};
use runtime::delta::digest::{ChunkDigest, Secret};
use runtime::delta::window::Entry;

use super::device::{Memory, Queue};
use super::kernels::{ITEMS, Kernels, Source, quietly};
use super::unavailable::Unavailable;

/// Whole chunks of the sample: two groups of detect and a part of a third.
const WHOLE: u32 = 21;
const CHUNKS: u32 = WHOLE + 1;
/// Bytes of the chunk behind them: what is copied next to it is not 16-byte aligned.
const TAIL: usize = 1041;
const SIZE: usize = WHOLE as usize * CHUNK_BYTES + TAIL;
/// Chunks of zeros.
const ZEROS: [u32; 6] = [2, 7, 9, 12, 13, 19];
/// What lies where nothing may be written.
const FILLER: u8 = 0xa5;
/// Work-groups of wide launches: for 65 535 work-items and more pocl compiles another kernel.
const WIDE: usize = 65_536 / ITEMS;

/// # Errors
/// `Wrong` where an answer is not the right one, the driver's own.
pub(super) fn check(
    kernels: &Kernels,
    context: *mut c_void,
    queue: &Queue,
    secret: &Secret,
) -> std::result::Result<(), Unavailable> {
    let sample = Sample::new(context, queue, secret)?;
    for bytewise in [false, true] {
        for compare in [Compare::Only, Compare::AndSend, Compare::Fresh] {
            for range in [(0, CHUNKS), (1, CHUNKS), (5, 18)] {
                sample.detect(kernels, bytewise, compare, range, 0)?;
            }
            sample.detect(kernels, bytewise, compare, (1, CHUNKS), WIDE)?;
        }
        sample.gather(kernels, bytewise, 0)?;
        sample.gather(kernels, bytewise, WIDE)?;
    }
    Ok(())
}

/// A buffer with a table, both on the device and here.
struct Sample<'q> {
    queue: &'q Queue,
    bytes: Vec<u8>,
    digests: Vec<ChunkDigest>,
    /// Some chunks' digests, others' with one bit changed.
    table: Vec<ChunkDigest>,
    buffer: Memory,
    table_there: Memory,
    entries: Memory,
    answer: Memory,
}

const FLAGS_AT: u32 = 3;
const FLAG_BYTES: usize = (FLAGS_AT as usize + 3 + WIDE) * GROUP_FLAGS + 64;
/// What gather copies: out of order, the short chunk amid the others and, with nothing behind it, last; the last group has
/// two.
const LISTED: [u32; 14] = [4, 7, 0, 2, WHOLE, 3, 20, 1, 9, 14, 5, 11, 16, WHOLE];
/// Entries behind those of the launch.
const NOT_LISTED: [u32; 3] = [6, 8, 10];
const COPY_BYTES: usize = (LISTED.len() + NOT_LISTED.len() + 1) * CHUNK_BYTES;

impl<'q> Sample<'q> {
    fn new(context: *mut c_void, queue: &'q Queue, secret: &Secret) -> Result<Sample<'q>> {
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
        let sample = Sample {
            queue,
            buffer: Memory::new(context, SIZE)?,
            table_there: Memory::new(context, size_of_val(table.as_slice()))?,
            entries: Memory::new(
                context,
                (1 + LISTED.len() + NOT_LISTED.len()) * size_of::<Entry>(),
            )?,
            answer: Memory::new(context, COPY_BYTES.max(FLAG_BYTES))?,
            bytes,
            digests,
            table,
        };
        queue
            .write(&sample.buffer, 0, &sample.bytes)?
            .wait(quietly)?;
        Ok(sample)
    }

    fn source(&self, bytewise: bool) -> Source<'_> {
        Source {
            buffer: self.buffer.real(),
            size: SIZE as u64,
            table: &self.table_there,
            bytewise,
        }
    }

    /// Table and answer as they were before any kernel ran.
    fn reset(&self, answer_bytes: usize) -> Result<()> {
        let table: Vec<[u32; 4]> = self.table.iter().map(|digest| digest.0).collect();
        self.queue
            .write(&self.table_there, 0, &table)?
            .wait(quietly)?;
        let filler = vec![FILLER; answer_bytes];
        self.queue.write(&self.answer, 0, &filler)?.wait(quietly)
    }

    /// Whether table and answer are now these.
    fn compare(
        &self,
        (table, answer): (&[ChunkDigest], &[u8]),
        what: impl FnOnce() -> String,
    ) -> std::result::Result<(), Unavailable> {
        let wanted: Vec<u8> = table
            .iter()
            .flat_map(|digest| digest.0)
            .flat_map(u32::to_le_bytes)
            .collect();
        let differs = |name: &str, memory: &Memory, wanted: &[u8]| -> Result<Option<String>> {
            let mut got = vec![0; wanted.len()];
            self.queue.read(memory, &mut got, None)?.wait(quietly)?;
            let at = got
                .iter()
                .zip(wanted)
                .position(|(got, wanted)| got != wanted);
            Ok(at.map(|at| {
                let (got, wanted) = (got[at], wanted[at]);
                format!("byte {at} of the {name} is {got:#04x}, not {wanted:#04x}")
            }))
        };
        self.queue.finish()?;
        let wrong = match differs("answer", &self.answer, answer)? {
            None => differs("table", &self.table_there, &wanted)?,
            wrong => wrong,
        };
        wrong.map_or(Ok(()), |wrong| {
            Err(Unavailable::Wrong(format!("{}: {wrong}", what())))
        })
    }

    fn detect(
        &self,
        kernels: &Kernels,
        bytewise: bool,
        compare: Compare,
        (first, end): (u32, u32),
        spare: usize,
    ) -> std::result::Result<(), Unavailable> {
        let groups = (end - first).div_ceil(GROUP) as usize + spare;
        let mut flags = vec![FILLER; FLAG_BYTES];
        let ours = GROUP_FLAGS * FLAGS_AT as usize..GROUP_FLAGS * (FLAGS_AT as usize + groups);
        flags[ours.clone()].fill(0);
        let mut table = self.table.clone();
        for chunk in first..end {
            let at = chunk as usize;
            if compare != Compare::Fresh && table[at] == self.digests[at] {
                continue;
            }
            let (group, bit) = ((chunk - first) / GROUP, (chunk - first) % GROUP);
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
        let source = self.source(bytewise);
        kernels.detect(
            self.queue,
            source,
            first,
            end,
            &self.answer,
            FLAGS_AT,
            compare,
            spare,
        )?;
        self.compare((&table, &flags), || {
            format!(
                "detect, {compare:?}, bytewise {bytewise}, chunks {first}..{end}, {groups} groups"
            )
        })
    }

    fn gather(
        &self,
        kernels: &Kernels,
        bytewise: bool,
        spare: usize,
    ) -> std::result::Result<(), Unavailable> {
        let mut copies = vec![FILLER; COPY_BYTES];
        let mut table = self.table.clone();
        // The first entry is one of a launch before.
        let mut entries = vec![Entry::default()];
        let mut to = 8;
        for chunk in LISTED {
            entries.push(Entry {
                chunk,
                to: to as u32 / 8,
            });
            let bytes = self
                .bytes
                .chunks(CHUNK_BYTES)
                .nth(chunk as usize)
                .unwrap_or(&[]);
            copies[to..to + bytes.len()].copy_from_slice(bytes);
            let next = to + bytes.len().next_multiple_of(8);
            copies[to + bytes.len()..next].fill(0);
            to = next;
            table[chunk as usize] = self.digests[chunk as usize];
        }
        let end = entries.len();
        for (chunk, n) in NOT_LISTED.into_iter().zip(0..) {
            let to = (to.next_multiple_of(16) + n * CHUNK_BYTES) as u32 / 8;
            entries.push(Entry { chunk, to });
        }
        self.reset(COPY_BYTES)?;
        self.queue
            .write(&self.entries, 0, &entries)?
            .wait(quietly)?;
        let (source, range) = (self.source(bytewise), (1, end));
        kernels.gather(
            self.queue,
            source,
            &self.entries,
            range,
            &self.answer,
            spare,
        )?;
        self.compare((&table, &copies), || {
            format!("gather, bytewise {bytewise}, {spare} spare groups")
        })
    }
}

fn whole(chunk: u32) -> std::ops::Range<usize> {
    let at = chunk as usize * CHUNK_BYTES;
    at..at + CHUNK_BYTES
}

/// Byte `at` of the sample: of no period, so that no item's bytes stand for another's (`SplitMix64`'s mixing).
fn mixed(at: u64) -> u8 {
    let mut z = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u8
}
