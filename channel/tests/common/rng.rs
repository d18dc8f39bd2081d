//! Seeded choices: a case that fails is run again by its seed.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Values that code likes to trip over.
    pub fn nasty(&mut self) -> u64 {
        let edge = self.pick(&[
            0,
            1,
            3,
            16,
            85,
            86,
            4096,
            1 << 20,
            1 << 32,
            1 << 56,
            u64::MAX,
        ]);
        match self.below(4) {
            0 => edge,
            1 => edge.wrapping_add(self.next() % 5).wrapping_sub(2),
            2 => self.next() % 200,
            _ => self.next(),
        }
    }
}
