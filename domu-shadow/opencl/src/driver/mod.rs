//! The vendors' drivers: finding, loading, calling, unloading.
//!
//! Handles here are the drivers' own, and live; see `dispatch` for the contract.
//!
//! | room | purpose |
//! |---|---|
//! | [`discover`], [`loader`], `icd2` | finding drivers, loading them, and dispatch tables for those of `cl_khr_icd` 2.0 |
//! | [`dispatch`] | calls through a driver's dispatch table |
//! | [`functions`], [`extension`] | extension functions, by name |
//! | [`query`] | answers to `clGet*Info`, as Rust values |
//! | [`record`] | recording into a driver's command buffer |
//! | [`workers`] | outlasting a driver's worker threads |
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
