//! The C surface: one file per chapter of the specification.
//!
//! Each entry point is written with [`entry::entry`], as a Rust function that returns a `CLResult`; the C function
//! around it (gate, panics, `errcode_ret`) comes from there.
//!
//! | room | chapter |
//! |---|---|
//! | [`platform`], [`device`], [`context`] | the platform layer |
//! | [`queue`], [`event`] | command queues, events |
//! | [`memory`], [`image`], [`pipe`], [`sampler`] | memory objects, samplers |
//! | [`transfer`], [`image_transfer`], [`map`] | commands on memory objects |
//! | [`svm`] | shared virtual memory |
//! | [`program`], [`build`], [`kernel`], [`kernel_info`] | programs and kernels |
//! | [`enqueue`] | kernels, native kernels, markers and barriers as commands |
//! | [`extension`], `extension_names` | extension functions by name; which extensions a program sees |
//! | [`sharing`], `command_buffer`, `external_memory`, `semaphore`, `usm`, `device_address` | extensions |
//! | `entry`, `info`, `properties` | how entry points, info queries and property lists are written |

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
