//! The shadow objects: what the program's handles stand for.
//!
//! Each object keeps what is needed to make the driver's object again, and its parents, so that a released context
//! lives while its children do. Reference counts are ours; the driver only ever sees one reference.

pub mod binaries;
pub mod build;
pub mod caller;
pub mod command;
pub mod command_buffer;
pub mod context;
pub mod device;
pub mod driver_handle;
pub mod event;
pub mod farewell;
pub mod handle;
pub mod held;
pub mod host_memory;
pub mod image;
pub mod inventory;
pub mod kernel;
pub mod kernel_arg;
pub mod map;
pub mod mem;
mod notified;
pub mod obstacles;
pub mod plain;
pub mod platform;
pub mod program;
pub mod queue;
mod remake;
pub mod retired;
pub mod running;
pub mod sampler;
pub mod semaphore;
pub mod sub_devices;
pub mod svm;
pub mod transfer;
pub mod usm;
