//! The shadow objects: what the program's handles stand for.
//!
//! Each object keeps what is needed to make the driver's object again, and its parents, so that a released context
//! lives while its children do. Reference counts are ours; the driver only ever sees one reference. An object knows its
//! parents, never its children.
//!
//! | room | purpose |
//! |---|---|
//! | [`handle`], [`cells`], [`caller`] | the program's handles, what they point at, and the pointers it passes |
//! | [`driver_handle`] | the driver's object behind a shadow object |
//! | [`host_memory`] | memory of ours that programs see |
//! | [`destructor_callbacks`] | the program's callbacks on the end of an object |
//! | [`obstacles`] | kinds of objects that keep the process from moving |
//! | [`platform`], [`device`], [`inventory`] | platforms and devices, and which were found |
//! | [`sub_devices`] | making them, and making them again |
//! | [`context`] | contexts |
//! | [`mem`], [`svm`], [`usm`] | memory objects, shared virtual memory, unified shared memory |
//! | [`sampler`], [`semaphore`] | samplers, semaphores |
//! | [`program`], [`kernel`] | programs, kernels |
//! | [`queue`], [`in_flight`], [`retired_queues`] | command queues, what runs in them, what released ones still do |
//! | [`event`], `event_callbacks` | events, and the program's callbacks on them |
//! | [`open_user_events`] | what a user event without a status changes for all commands |
//! | [`command`], [`command_buffer`], [`recorded_command`] | commands, and recorded ones |

pub mod caller;
pub mod cells;
pub mod command;
pub mod command_buffer;
pub mod context;
pub mod destructor_callbacks;
pub mod device;
pub mod driver_handle;
pub mod event;
mod event_callbacks;
pub mod handle;
pub mod host_memory;
pub mod in_flight;
pub mod inventory;
pub mod kernel;
pub mod mem;
pub mod obstacles;
pub mod open_user_events;
pub mod platform;
pub mod program;
pub mod queue;
pub mod recorded_command;
pub mod retired_queues;
pub mod sampler;
pub mod semaphore;
pub mod sub_devices;
pub mod svm;
pub mod usm;

pub use caller::Caller;
pub use command_buffer::CommandBuffer;
pub use context::Context;
pub use device::Device;
pub use event::Event;
pub use handle::Object;
pub use kernel::Kernel;
pub use mem::Mem;
pub use platform::Platform;
pub use program::Program;
pub use queue::Queue;
pub use sampler::Sampler;
pub use semaphore::Semaphore;
