//! A digest of each page as it was sent.
//!
//! XXH3-128 keyed with 192 random bytes and a random seed: the guest cannot aim at a collision, and by chance one changed page in
//! 2^128 would be taken for unchanged. 16 bytes and a bit for each page, in blocks of [`BATCH`] pages that are made when
//! the first page of a block is sent: 4.03 MiB for each GiB of RAM, nothing for holes.

use std::io::Read;

use twox_hash::XxHash3_128;

use super::error::RamError;
use super::page::{BATCH, PAGE};

/// Key of the digests of one save.
pub struct Key {
    seed: u64,
    secret: [u8; 192],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    fn random() -> std::io::Result<Self> {
        let mut random = std::fs::File::open("/dev/urandom")?;
        let (mut seed, mut secret) = ([0; 8], [0; 192]);
        random.read_exact(&mut seed)?;
        random.read_exact(&mut secret)?;
        Ok(Self {
            seed: u64::from_ne_bytes(seed),
            secret,
        })
    }

    /// Of a private copy of a page.
    pub fn digest(&self, page: &[u8; PAGE]) -> u128 {
        XxHash3_128::oneshot_with_seed_and_secret(self.seed, &self.secret, page)
            .expect("the secret is longer than the least length, 136 bytes")
    }
}

/// Digests of [`BATCH`] pages in a row.
#[derive(Debug, Clone)]
pub struct Block {
    digests: [u128; BATCH],
    known: [u64; BATCH / 64],
}

impl Block {
    fn new() -> Box<Self> {
        Box::new(Self {
            digests: [0; BATCH],
            known: [0; BATCH / 64],
        })
    }

    /// The digest of what was sent of the page; `None` where nothing was.
    pub fn get(&self, index: usize) -> Option<u128> {
        let known = self.known[index / 64] >> (index % 64) & 1 != 0;
        known.then(|| self.digests[index])
    }

    pub fn set(&mut self, index: usize, digest: u128) {
        self.digests[index] = digest;
        self.known[index / 64] |= 1 << (index % 64);
    }

    /// The page is none that the receiver has as it was sent.
    pub fn forget(&mut self, index: usize) {
        self.known[index / 64] &= !(1 << (index % 64));
    }
}

/// A block that takes memory only once it is needed.
#[derive(Debug, Default)]
pub struct LazyBlock(Option<Box<Block>>);

impl LazyBlock {
    pub fn get(&self) -> Option<&Block> {
        self.0.as_deref()
    }

    pub fn get_mut(&mut self) -> Option<&mut Block> {
        self.0.as_deref_mut()
    }

    pub fn get_or_make(&mut self) -> &mut Block {
        self.0.get_or_insert_with(Block::new)
    }
}

/// Of all pages of a guest.
#[derive(Debug)]
pub struct Digests {
    pub key: Key,
    /// Each for [`BATCH`] pages, in order.
    pub blocks: Vec<LazyBlock>,
}

impl Digests {
    /// For pages 0 to `pfns`, none of them sent.
    pub fn new(pfns: usize) -> Result<Self, RamError> {
        let key = Key::random().map_err(RamError::Random)?;
        let mut blocks = Vec::new();
        blocks.resize_with(pfns.div_ceil(BATCH), LazyBlock::default);
        Ok(Self { key, blocks })
    }

    /// Memory taken.
    pub fn bytes(&self) -> u64 {
        let made = self.blocks.iter().filter(|p| p.0.is_some()).count();
        (self.blocks.len() * size_of::<LazyBlock>() + made * size_of::<Block>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_makes_another_digest_and_another_key_too() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let mut page = [0; PAGE];
        let plain = key.digest(&page);
        assert_ne!(plain, other.digest(&page));
        for bit in [0, 8 * PAGE / 2, 8 * PAGE - 1] {
            page[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(key.digest(&page), plain);
            page[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(key.digest(&page), plain);
    }

    #[test]
    fn only_what_was_sent_is_known() {
        let mut block = Block::new();
        block.set(64, 7);
        assert_eq!(
            [63, 64, 65, 1023].map(|i| block.get(i)),
            [None, Some(7), None, None]
        );
        block.forget(64);
        assert_eq!(block.get(64), None);
    }

    #[test]
    fn memory_is_as_documented() {
        let mut digests = Digests::new(1 << 20).unwrap(); // 4 GiB of address space
        assert_eq!(digests.bytes(), 8 << 10);
        digests.blocks[..256].iter_mut().for_each(|p| {
            p.get_or_make();
        });
        assert_eq!(digests.bytes(), (8 << 10) + 256 * (16384 + 128)); // 1 GiB of RAM: 4.03 MiB
    }
}
