//! Shows dom0 that the references in a directory are those that were granted for it.
//!
//! The directory lies in shared memory, and a program without rights can write there. It could list pages of other programs or of
//! the guest's kernel, which are granted to dom0 too, and have their contents copied into its own image, or written over by a restore. So the
//! agent that granted the pages publishes a seal of their references by XenStore, where the program cannot write.
//!
//! The seal is a polynomial hash with a random key (Carter and Wegman): the references are the coefficients, evaluated at two secret points
//! modulo 2^61-1. Two different lists of *n* references have the same seal with a chance of at most (n / 2^61)^2, below 2^-90 for any
//! channel. A list gets one try: each opening has a new key.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

/// A Mersenne prime.
const MODULUS: u64 = (1 << 61) - 1;

/// Key and value, as the node `channel` carries them: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReferenceSeal {
    key: [u64; 2],
    value: [u64; 2],
}

impl ReferenceSeal {
    /// Seals `references` with a new key.
    ///
    /// # Errors
    /// What reading `/dev/urandom` said.
    pub fn new(references: &[u32]) -> io::Result<ReferenceSeal> {
        let mut random = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let number = u128::from_ne_bytes(random);
        let key = [number as u64, (number >> 64) as u64].map(|half| half % MODULUS);
        let value = key.map(|point| evaluate(references, point));
        Ok(ReferenceSeal { key, value })
    }

    /// Whether these are the references that were sealed, in that order.
    pub fn fits(&self, references: &[u32]) -> bool {
        self.key.map(|point| evaluate(references, point)) == self.value
    }
}

/// Horner's rule. The leading 1 makes lists of different lengths different polynomials.
fn evaluate(references: &[u32], point: u64) -> u64 {
    references.iter().fold(1, |sum, reference| {
        let next = u128::from(sum) * u128::from(point) + u128::from(*reference);
        (next % u128::from(MODULUS)) as u64
    })
}

/// The key is a secret until the channel is mapped.
impl fmt::Debug for ReferenceSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReferenceSeal")
    }
}

impl fmt::Display for ReferenceSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.key.iter().chain(&self.value);
        words.try_for_each(|word| write!(f, "{word:016x}"))
    }
}

/// A text that is no seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct NoSeal;

impl FromStr for ReferenceSeal {
    type Err = NoSeal;

    fn from_str(text: &str) -> Result<Self, NoSeal> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoSeal);
        }
        let word = |i: usize| {
            let word = u64::from_str_radix(&text[16 * i..16 * (i + 1)], 16);
            word.ok().filter(|word| *word < MODULUS).ok_or(NoSeal)
        };
        Ok(ReferenceSeal {
            key: [word(0)?, word(1)?],
            value: [word(2)?, word(3)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_fits_its_references_alone() {
        let references: Vec<u32> = (100..4300).collect();
        let seal = ReferenceSeal::new(&references).unwrap();
        assert_eq!(seal.to_string().parse(), Ok(seal));
        assert!(seal.fits(&references));
        for (what, change) in [
            (
                "another one",
                &(|r: &mut Vec<u32>| r[17] = 3) as &dyn Fn(&mut Vec<u32>),
            ),
            ("exchanged", &|r| r.swap(1, 2)),
            ("one less", &|r| r.truncate(r.len() - 1)),
            ("one more", &|r| r.push(0)),
            ("one before", &|r| r.insert(0, 0)),
        ] {
            let mut changed = references.clone();
            change(&mut changed);
            assert!(!seal.fits(&changed), "{what}");
        }
        let again = ReferenceSeal::new(&references).unwrap();
        assert_ne!(seal, again, "a new key each time");
    }

    #[test]
    fn the_value_is_the_polynomial_s() {
        // x^2 + 5x + 7 at 3, and at a point where the product passes 2^64.
        assert_eq!(evaluate(&[5, 7], 3), 31);
        let point = MODULUS - 1; // -1
        assert_eq!(evaluate(&[5, 7], point), 3);
    }

    #[test]
    fn nonsense_is_no_seal() {
        let high = format!("{}{}", "f".repeat(16), "0".repeat(48));
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(63), &high] {
            assert_eq!(bad.parse::<ReferenceSeal>(), Err(NoSeal), "{bad:?}");
        }
    }
}
