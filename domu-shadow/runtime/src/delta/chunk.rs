//! The grain: chunks, and their flags.

/// Bytes of a chunk. The last chunk of a buffer may be shorter.
pub const CHUNK_BYTES: usize = 4096;
/// Chunks of a detect group.
pub const GROUP: u32 = 8;
/// Bytes of flags a detect group writes.
pub const GROUP_FLAGS: usize = 2;

/// Chunks of a buffer of `size` bytes; `None` beyond 2³¹ chunks (8 TiB).
pub fn chunks_of(size: u64) -> Option<u32> {
    let chunks = size.div_ceil(CHUNK_BYTES as u64);
    u32::try_from(chunks).ok().filter(|&n| n <= 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_up_to_chunks_and_have_a_limit() {
        assert_eq!(chunks_of(1), Some(1));
        assert_eq!(chunks_of(4096), Some(1));
        assert_eq!(chunks_of(4097), Some(2));
        assert_eq!(chunks_of(5 << 30), Some(5 << 18));
        assert_eq!(chunks_of(1 << 43), Some(1 << 31));
        assert_eq!(chunks_of((1 << 43) + 1), None);
    }
}
