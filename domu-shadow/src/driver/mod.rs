//! The vendors' drivers: finding, loading, calling, unloading.
//!
//! Handles here are the drivers' own, and live; see `dispatch` for the contract.
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "a driver's handle is opaque here: only the driver dereferences it"
)]

mod cuda;
pub mod discover;
pub mod dispatch;
pub mod extension;
pub mod foreign;
pub mod functions;
mod heap;
mod icd2;
pub mod loader;
pub mod poll;
pub mod query;
pub mod record;
mod relocations;
pub mod snapshot;
pub mod unload;
pub mod workers;

pub use heap::stop_in_child;
