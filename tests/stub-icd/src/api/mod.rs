//! The C surface: arguments in, checks in the specification's order, objects' methods.

pub mod absent;
pub mod build;
pub mod command_buffer;
pub mod context;
pub mod copy;
pub mod device;
pub mod event;
pub mod image;
pub mod kernel;
pub mod launch;
pub mod lookup;
pub mod map;
pub mod mem;
pub mod platform;
pub mod program;
pub mod queue;
pub mod sampler;
pub mod semaphore;
pub mod sync;
pub mod transfer;
pub mod usm;
