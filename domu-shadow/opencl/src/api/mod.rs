//! The C surface: one file per chapter of the specification.
//!
//! Each entry point is written with [`entry::entry`], as a Rust function that returns a `CLResult`; the C function
//! around it (gate, panics, `errcode_ret`) comes from there.

pub mod build;
pub(crate) mod command_buffer;
pub mod context;
pub mod device;
pub(crate) mod device_address;
pub mod enqueue;
pub(crate) mod entry;
pub mod event;
pub mod extension;
pub(crate) mod extension_names;
pub(crate) mod external_memory;
pub mod image;
pub mod image_transfer;
pub(crate) mod info;
pub mod kernel;
pub mod kernel_info;
pub mod map;
pub mod memory;
pub mod pipe;
pub mod platform;
pub mod program;
pub(crate) mod properties;
pub mod queue;
pub mod sampler;
pub(crate) mod semaphore;
pub mod sharing;
pub mod svm;
pub mod transfer;
pub(crate) mod usm;
