//! The device's extensions.

use opencl_sys::make_version;

/// Name and version.
pub type Extension = (&'static str, u32);

/// What is always there.
pub const ALWAYS: [Extension; 4] = [
    ("cl_khr_byte_addressable_store", make_version(1, 0, 0)),
    ("cl_khr_global_int32_base_atomics", make_version(1, 0, 0)),
    ("cl_khr_fp64", make_version(1, 0, 0)),
    ("cl_khr_suggested_local_work_size", make_version(1, 0, 0)),
];

/// What is there on request (`extension=`).
pub const OPTIONAL: [Extension; 8] = [
    ("cl_ext_buffer_device_address", make_version(1, 0, 2)),
    ("cl_intel_unified_shared_memory", make_version(1, 1, 0)),
    ("cl_khr_command_buffer", make_version(0, 9, 8)),
    ("cl_khr_external_memory", make_version(1, 0, 1)),
    ("cl_khr_external_memory_opaque_fd", make_version(1, 0, 0)),
    ("cl_khr_external_semaphore", make_version(1, 0, 1)),
    ("cl_khr_external_semaphore_opaque_fd", make_version(1, 0, 0)),
    ("cl_khr_semaphore", make_version(1, 0, 0)),
];
