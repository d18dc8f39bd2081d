//! Sizes of what memory is looked at in.

/// Pages of a PAGE_DATA record, of a mapping, and of a hypercall for their types: each has this for its limit, or near it.
pub const BATCH: usize = 1024;
/// `XC_PAGE_SIZE`
pub const PAGE: usize = xen_bindings::PAGE_SIZE;
