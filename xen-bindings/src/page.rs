//! The unit of grants and mappings.

/// Bytes in one page of a grant, on every architecture that has grants (`XC_PAGE_SIZE`).
pub const PAGE_SIZE: usize = 4096;
