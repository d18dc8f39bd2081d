//! The objects of OpenCL, in safe Rust. `api` is the C surface over them.

pub mod addresses;
pub mod command;
pub mod command_buffer;
pub mod context;
pub mod device;
pub mod enqueue;
pub mod event;
pub mod geometry;
pub mod image;
pub mod kernel;
pub mod map;
pub mod mapping;
pub mod mem;
pub mod platform;
pub mod program;
pub mod queue;
pub mod sampler;
pub mod schedule;
pub mod semaphore;
