//! What the 64 bytes of a handle say. Numbers are little-endian.
//!
//! | octets | |
//! |---|---|
//! | 0 to 7 | `xl-gpu`, 0, version |
//! | 8 to 11 | process |
//! | 12 to 15 | a random number, of the socket's name |
//! | 16 to 23 | where the allocation begins |
//! | 24 to 31 | the number of its block: an address is used again, this is not |
//! | 32 to 39 | its bytes, as the program asked |
//! | 40 to 55 | the process's secret |
//! | 56 to 63 | 0 |

use std::io;

use crate::abi::{CUdeviceptr, CUipcMemHandle};

const MAGIC: [u8; 8] = *b"xl-gpu\0\x01";

/// A process that gives memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Exporter {
    pub process: u32,
    random: u32,
    secret: [u8; 16],
}

impl Exporter {
    /// This process.
    ///
    /// # Errors
    /// getrandom(2)'s.
    pub fn new() -> io::Result<Exporter> {
        let mut bytes = [0; 20];
        // So few bytes come at once, or not at all.
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(Exporter {
            process: std::process::id(),
            random: number(&bytes, 0) as u32,
            secret: array(&bytes, 4),
        })
    }

    /// Its socket's, among the abstract ones.
    pub fn socket(&self) -> String {
        format!("xl-gpu-cuda-ipc-{}-{:08x}", self.process, self.random)
    }
}

/// The secret is not for logs.
impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.socket())
    }
}

/// An allocation of another process's, or of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub exporter: Exporter,
    pub at: CUdeviceptr,
    pub block: u64,
    /// Bytes.
    pub asked: u64,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// 32 bits are in the lower half.
fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

impl Handle {
    pub fn to_bytes(self) -> [u8; 64] {
        let exporter = self.exporter;
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&exporter.process.to_le_bytes());
        bytes[12..16].copy_from_slice(&exporter.random.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.at.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.block.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.asked.to_le_bytes());
        bytes[40..56].copy_from_slice(&exporter.secret);
        bytes
    }

    /// `None` for a handle of the driver's.
    pub fn parse(bytes: &[u8; 64]) -> Option<Handle> {
        if bytes[..8] != MAGIC {
            return None;
        }
        Some(Handle {
            exporter: Exporter {
                process: number(bytes, 8) as u32,
                random: u32::from_le_bytes(array(bytes, 12)),
                secret: array(bytes, 40),
            },
            at: number(bytes, 16),
            block: number(bytes, 24),
            asked: number(bytes, 32),
        })
    }
}

impl From<Handle> for CUipcMemHandle {
    fn from(handle: Handle) -> CUipcMemHandle {
        CUipcMemHandle(handle.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_put_in_and_knows_its_own() {
        let handle = Handle {
            exporter: Exporter::new().unwrap(),
            at: 0x7000_0020_0000,
            block: 7,
            asked: (4 << 20) + 1,
        };
        let bytes = handle.to_bytes();
        assert_eq!(Handle::parse(&bytes), Some(handle));
        let mut of_driver = bytes;
        of_driver[7] ^= 1;
        assert_eq!(Handle::parse(&of_driver), None);
        for octet in 40..56 {
            let mut wrong = bytes;
            wrong[octet] ^= 1;
            let wrong = Handle::parse(&wrong).unwrap();
            assert_ne!(wrong.exporter, handle.exporter);
        }
        let said = format!("{handle:?}");
        assert!(!said.contains("secret"), "{said}");
    }

    #[test]
    fn processes_have_names_of_their_own() {
        let (one, other) = (Exporter::new().unwrap(), Exporter::new().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.secret, other.secret);
        let id = std::process::id().to_string();
        assert!(one.socket().contains(&id), "{one:?}");
    }
}
