//! Vendors' libraries: what they open and leave behind, and who else has the GPU.
//!
//! | room | purpose |
//! |---|---|
//! | [`loaded`] | opening libraries, and noting what they open |
//! | [`unload`] | closing them, and what they leave behind |
//! | `threads` | whose threads those are that have come since |
//! | `family` | libraries that a driver opens by itself and forgets |
//! | [`fronts`], `note`, `ld_cache` | libraries of ours under the name of a vendor's, and where that one is |
//! | [`heap`], `relocations` | memory that they forget, and the calls through which that is seen |
//! | [`foreign`], [`cuda`] | other users of the GPU, in this process and in others |
//! | [`forked`] | what a child of `fork` has of a driver |
//! | [`snapshot`] | what the process has open and mapped |

pub mod cuda;
mod family;
pub mod foreign;
pub mod forked;
pub mod fronts;
pub mod heap;
mod ld_cache;
pub mod loaded;
mod note;
mod paths;
mod relocations;
pub mod snapshot;
mod threads;
pub mod unload;
