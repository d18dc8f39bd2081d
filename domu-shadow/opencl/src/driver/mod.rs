//! The vendors' drivers: finding, loading, calling, unloading.
//!
//! Handles here are the drivers' own, and live; see `dispatch` for the contract.
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "a driver's handle is opaque here: only the driver dereferences it"
)]

pub mod discover;
pub mod dispatch;
pub mod extension;
pub mod functions;
mod icd2;
pub mod loader;
pub mod query;
pub mod record;
pub mod workers;
