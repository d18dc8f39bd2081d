//! The dom0 side of xl-gpu.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod plugin;
pub mod spool;
pub mod stream;
pub mod verify;
