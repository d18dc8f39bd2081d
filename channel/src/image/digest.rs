//! XXH3-128, the one digest of images, records and seals.

use std::fmt;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;
use twox_hash::xxhash3_128::Hasher;

/// XXH3-128 (seed 0) of some bytes, kept as the little-endian octets of the 128-bit value.
///
/// Finds corruption; it is no defence against somebody who can also rewrite the digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The value that zero and drop extents carry.
    pub const NONE: Digest = Digest([0; 16]);

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(XxHash3_128::oneshot(bytes).to_le_bytes())
    }

    /// The digest as it stands on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Digest {
        Digest(bytes)
    }

    /// The 16 octets for the wire.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_le_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A digest over bytes that come in pieces; equals [`Digest::of`] their concatenation.
pub struct DigestStream(Hasher);

impl DigestStream {
    /// A stream that has seen nothing.
    pub fn new() -> DigestStream {
        DigestStream(Hasher::new())
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The digest of all bytes seen so far.
    pub fn digest(&self) -> Digest {
        Digest(self.0.finish_128().to_le_bytes())
    }
}

impl Default for DigestStream {
    fn default() -> Self {
        Self::new()
    }
}
