//! The functions of the driver API that are ours, because they make or end what a move has to know.
//!
//! | room | purpose |
//! |---|---|
//! | [`initialisation`] | `cuInit` |
//! | [`contexts`] | contexts, primary contexts, peers |
//! | [`ordinary`] | `cuMemAlloc` and its kin |
//! | [`virtual_memory`] | `cuMemCreate`, `cuMemMap` and their kin |
//! | [`multicast`] | memory of several GPUs at once |
//! | [`pools`] | stream-ordered memory |
//! | [`pointers`] | queries about pointers and ranges |
//! | [`host`] | pinned host memory |
//! | [`arrays`] | arrays |
//! | [`modules`] | modules' variables |
//! | [`capturing`] | capturing streams into graphs |
//! | [`free_memory`] | what a device has free |
//! | [`sharing`] | what other processes and other APIs know |

// SAFETY (of every block in these rooms): each calls the driver's function of the same name with the program's own arguments, or
// reads what the driver has just written through them. They are what `cuda.h` says: that is the contract of the function around it.
#![allow(clippy::undocumented_unsafe_blocks)]

pub mod arrays;
pub mod capturing;
pub mod contexts;
pub mod free_memory;
pub mod host;
pub mod initialisation;
pub mod modules;
pub mod multicast;
pub mod ordinary;
pub mod pointers;
pub mod pools;
pub mod sharing;
pub mod virtual_memory;
