//! Kinds of objects that keep the process from moving.

use runtime::blocked::Obstacle;

/// Programs whose kernels share variables, which OpenCL has no way to read.
pub static VARIABLES: Obstacle = Obstacle::new("variables at program scope");
/// `cl_intel_unified_shared_memory`: its pointers may lie anywhere.
pub static UNIFIED_SHARED_MEMORY: Obstacle =
    Obstacle::new("unified shared memory (cl_intel_unified_shared_memory)");
/// `cl_ext_buffer_device_address`: a buffer's address may lie anywhere.
pub static DEVICE_ADDRESS: Obstacle =
    Obstacle::new("a buffer with a device address (cl_ext_buffer_device_address)");
/// `cl_khr_semaphore`: others may signal it, or wait for it.
pub static SEMAPHORE: Obstacle = Obstacle::new("a semaphore (cl_khr_semaphore)");
/// `cl_khr_external_memory`: others see it.
pub static EXTERNAL_MEMORY: Obstacle =
    Obstacle::new("memory shared with another API (cl_khr_external_memory)");

static ALL: [&Obstacle; 5] = [
    &VARIABLES,
    &UNIFIED_SHARED_MEMORY,
    &DEVICE_ADDRESS,
    &SEMAPHORE,
    &EXTERNAL_MEMORY,
];

/// Why the process cannot be moved for now, if so.
pub fn blocked() -> Option<&'static str> {
    ALL.iter().find_map(|obstacle| obstacle.blocks())
}
