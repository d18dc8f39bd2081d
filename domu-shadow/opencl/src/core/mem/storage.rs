//! What objects with the same contents share: host memory, maps, marks.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock};

use opencl_sys::{CL_MEM_USE_HOST_PTR, cl_mem_flags};

use super::map::Maps;
use super::marks::Marks;
use crate::core::host_memory::HostMemory;
use runtime::residency::Residency;

/// Where the program sees the bytes: shared by a root buffer and its sub-buffers; each image has its own.
pub struct Storage {
    /// The program's memory (`CL_MEM_USE_HOST_PTR`), else 0.
    pub(super) program: usize,
    /// Ours: at once for `CL_MEM_ALLOC_HOST_PTR`, else from the first map on.
    pub(super) own: OnceLock<Arc<HostMemory>>,
    pub(super) maps: Mutex<Maps>,
    /// What commands were enqueued while tracking.
    pub(super) marks: Marks,
    pub(super) residency: Residency,
}

impl Storage {
    /// Of an object that the program creates with these flags and this host pointer; marked as written.
    pub(super) fn new(flags: cl_mem_flags, host: *mut c_void) -> Storage {
        let uses_host = flags & CL_MEM_USE_HOST_PTR != 0;
        Storage {
            program: if uses_host { host as usize } else { 0 },
            own: OnceLock::new(),
            maps: Mutex::default(),
            marks: Marks::new(),
            residency: Residency::default(),
        }
    }
}
