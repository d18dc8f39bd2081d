//! The digest of a chunk, as the device computes it: reference implementation and keys.
//!
//! NH (Black, Halevi, Krawczyk, Krovetz, Rogaway: *UMAC*, 1999) over 32-bit words with four Toeplitz-shifted keys,
//! each 64-bit sum compressed to 32 bits by a multilinear hash (Lemire, Kaser: *Strongly universal string hashing
//! is fast*, 2014). For two fixed different chunks and a random [`Secret`] the 128-bit digests agree with
//! probability at most 2⁻¹²⁴, whatever the chunks are. `docs/dirty-tracking.md` derives it.

use super::chunk::CHUNK_BYTES;

/// Work-items that share a chunk.
pub const ITEMS: usize = 64;
/// Key words one work-item needs.
const KEYS_PER_ITEM: usize = WORDS_PER_ITEM + 2 * (LANES - 1);
const LANES: usize = 4;
const WORDS: usize = CHUNK_BYTES / 4;
const WORDS_PER_ITEM: usize = WORDS / ITEMS;

/// A chunk's digest: four little-endian 32-bit lanes. Meaningful only beside digests made with the same [`Secret`];
/// no relation to the digests that travel in an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ChunkDigest(pub [u32; LANES]);

/// A session's random keys. They stay in the process and in device memory that the program has no handle to.
#[derive(Clone)]
pub struct Secret {
    nh: Box<[u32; WORDS + 2 * (LANES - 1)]>,
    finish: [u64; 3 * LANES],
}

impl Secret {
    /// A secret of the operating system's randomness: no expansion of a shorter seed is involved.
    ///
    /// # Errors
    /// What `getrandom(2)` answered.
    pub fn random() -> std::io::Result<Secret> {
        let mut bytes = [0; 4 * (WORDS + 6) + 8 * 12];
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            // SAFETY: `rest` is ours and as long as said.
            let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(got) {
                Ok(got) => filled += got,
                Err(_) => {
                    let error = std::io::Error::last_os_error();
                    if error.kind() != std::io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(Secret::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8; 4 * (WORDS + 6) + 8 * 12]) -> Secret {
        let (nh, finish) = bytes.split_at(4 * (WORDS + 6));
        let (nh, _) = nh.as_chunks::<4>();
        let (finish, _) = finish.as_chunks::<8>();
        Secret {
            nh: Box::new(std::array::from_fn(|i| u32::from_le_bytes(nh[i]))),
            finish: std::array::from_fn(|i| u64::from_le_bytes(finish[i])),
        }
    }

    /// Key words in the order in which the kernels load them: word `t` of item `l` at `t * 64 + l`.
    pub fn item_keys(&self) -> Vec<u32> {
        (0..KEYS_PER_ITEM * ITEMS)
            .map(|at| self.nh[WORDS_PER_ITEM * (at % ITEMS) + at / ITEMS])
            .collect()
    }

    /// The three 64-bit keys of each lane's compression.
    pub fn finish_keys(&self) -> [u64; 3 * LANES] {
        self.finish
    }

    /// The digest of a chunk of 1 to 4096 bytes; a shorter one counts as if zeros followed.
    ///
    /// # Panics
    /// When `chunk` is longer than 4096 bytes.
    pub fn digest(&self, chunk: &[u8]) -> ChunkDigest {
        let mut padded = [0; CHUNK_BYTES];
        padded[..chunk.len()].copy_from_slice(chunk);
        let (bytes, _) = padded.as_chunks::<4>();
        let mut sums = [0_u64; LANES];
        for item in 0..ITEMS {
            for vector in 0..4 {
                for pair in [0, 2] {
                    // Where the words lie, and where they stand in the item's run.
                    let at = 4 * (item + vector * ITEMS) + pair;
                    let key = WORDS_PER_ITEM * item + 4 * vector + pair;
                    let (a, b) = (
                        u32::from_le_bytes(bytes[at]),
                        u32::from_le_bytes(bytes[at + 1]),
                    );
                    for (lane, sum) in sums.iter_mut().enumerate() {
                        let a = a.wrapping_add(self.nh[key + 2 * lane]);
                        let b = b.wrapping_add(self.nh[key + 2 * lane + 1]);
                        *sum = sum.wrapping_add(u64::from(a) * u64::from(b));
                    }
                }
            }
        }
        ChunkDigest(std::array::from_fn(|lane| {
            let [high, low, add] = [0, 1, 2].map(|i| self.finish[3 * lane + i]);
            let (y1, y0) = (sums[lane] >> 32, sums[lane] & 0xffff_ffff);
            let mixed = high
                .wrapping_mul(y1)
                .wrapping_add(low.wrapping_mul(y0))
                .wrapping_add(add);
            (mixed >> 32) as u32
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn random_chunk(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..CHUNK_BYTES)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect()
    }

    fn distance(a: ChunkDigest, b: ChunkDigest) -> u32 {
        a.0.iter().zip(b.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// With known keys the digest is a sum that can be written down.
    #[test]
    fn agrees_with_the_formula_on_a_small_case() {
        let mut secret = Secret::from_bytes(&[0; 4 * (WORDS + 6) + 8 * 12]);
        for lane in 0..LANES {
            secret.finish[3 * lane] = 1; // high half
            secret.finish[3 * lane + 1] = 1 << 32; // low half
        }
        let mut chunk = [0; CHUNK_BYTES];
        chunk[..4].copy_from_slice(&7_u32.to_le_bytes());
        chunk[4..8].copy_from_slice(&9_u32.to_le_bytes());
        assert_eq!(secret.digest(&chunk), ChunkDigest([63; 4]));
        // A key under the second word of the first lane alone: 7 * (9 + 5).
        secret.nh[1] = 5;
        assert_eq!(secret.digest(&chunk), ChunkDigest([98, 63, 63, 63]));
        // The second vector of item 0 lies 1024 bytes on.
        chunk[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
        secret.nh[5] = 100;
        secret.nh[7] = 10;
        assert_eq!(
            secret.digest(&chunk),
            ChunkDigest([98 + 100, 63 + 10, 7 * (9 + 100), 7 * (9 + 10)])
        );
    }

    #[test]
    fn every_flipped_bit_changes_about_half_of_the_digest() {
        let secret = Secret::random().unwrap();
        let mut chunk = random_chunk(1);
        let before = secret.digest(&chunk);
        let (mut total, mut least) = (0, u32::MAX);
        for bit in 0..8 * CHUNK_BYTES {
            chunk[bit / 8] ^= 1 << (bit % 8);
            let changed = distance(before, secret.digest(&chunk));
            chunk[bit / 8] ^= 1 << (bit % 8);
            total += changed;
            least = least.min(changed);
        }
        let mean = f64::from(total) / (8 * CHUNK_BYTES) as f64;
        assert!(
            (60.0..68.0).contains(&mean),
            "{mean} bits of 128 on average"
        );
        assert!(least >= 16, "a flip changed only {least} bits");
    }

    /// What programs really do: counters, one word of many, swapped words, the same word added and taken.
    #[test]
    fn structured_chunks_do_not_collide() {
        let secret = Secret::random().unwrap();
        let mut seen = HashSet::new();
        let mut lanes: [HashSet<u32>; LANES] = Default::default();
        let mut chunks = 0;
        let mut see = |chunk: &[u8]| {
            chunks += 1;
            let digest = secret.digest(chunk);
            for (lane, values) in lanes.iter_mut().enumerate() {
                values.insert(digest.0[lane]);
            }
            assert!(seen.insert(digest), "two different chunks, one digest");
        };
        for word in 0..WORDS {
            let mut chunk = [0; CHUNK_BYTES];
            for value in [1_u32, 2, 0x8000_0000, u32::MAX] {
                chunk[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
                see(&chunk);
            }
            // Plus one here, minus one in the next word.
            if word + 1 < WORDS {
                chunk.fill(8);
                chunk[4 * word] += 1;
                chunk[4 * word + 4] -= 1;
                see(&chunk);
            }
        }
        for counter in 0..20_000_u32 {
            see(&counter.to_le_bytes().repeat(WORDS));
        }
        // 40 thousand values of 32 bits: expected at most 0.4 collisions a lane.
        for values in lanes {
            assert!(chunks - values.len() < 6, "{} of {chunks}", values.len());
        }
    }

    #[test]
    fn another_secret_gives_another_digest_and_short_chunks_are_padded() {
        let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
        let chunk = random_chunk(3);
        assert!(distance(one.digest(&chunk), two.digest(&chunk)) > 16);
        let mut padded = chunk[..100].to_vec();
        padded.resize(CHUNK_BYTES, 0);
        assert_eq!(one.digest(&chunk[..100]), one.digest(&padded));
        assert_ne!(one.digest(&chunk[..100]), one.digest(&chunk[..99]));
    }

    #[test]
    fn items_get_their_run_of_keys_and_the_shifts() {
        let secret = Secret::random().unwrap();
        let keys = secret.item_keys();
        assert_eq!(keys.len(), 22 * 64);
        for item in [0, 1, 63] {
            for t in 0..KEYS_PER_ITEM {
                assert_eq!(keys[t * ITEMS + item], secret.nh[16 * item + t]);
            }
        }
    }
}
