//! Shared virtual memory that stays where it is.
//!
//! A pointer into it may lie anywhere: in kernel arguments, in the memory itself, in the program. So it can move only if
//! it keeps its address, and a driver that chooses addresses does not promise that. If kernels can work on the process's
//! own memory at its own addresses, the allocation is memory of ours, which travels with the guest's RAM. Otherwise it is
//! the driver's, and the process cannot be moved.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::{
    CL_DEVICE_SVM_CAPABILITIES, CL_DEVICE_SVM_FINE_GRAIN_SYSTEM, CL_INVALID_DEVICE,
    CL_INVALID_VALUE, CL_OUT_OF_HOST_MEMORY,
};

use super::context::Context;
use super::device::Device;
use super::host_memory::HostMemory;
use crate::CLResult;
use crate::driver::query;
use runtime::locks::lock;

/// Why a process that has a driver's cannot be moved.
pub const REASON: &str = "shared virtual memory whose addresses the driver chooses";

struct Allocation {
    memory: HostMemory,
    bytes: usize,
    /// Lives as long as its memory, as with a driver.
    context: Arc<Context>,
}

static ALLOCATIONS: Mutex<BTreeMap<usize, Allocation>> = Mutex::new(BTreeMap::new());

fn allocations() -> MutexGuard<'static, BTreeMap<usize, Allocation>> {
    lock(&ALLOCATIONS)
}

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&ALLOCATIONS)
}

/// pocl's kernels take any pointer of the process, even if it does not report `CL_DEVICE_SVM_FINE_GRAIN_SYSTEM`: so says 3.1's
/// source, and `tests/moves_svm.rs` shows.
fn addresses_our_memory(device: &Device) -> bool {
    let capabilities = query::device_number(device.real.get(), CL_DEVICE_SVM_CAPABILITIES);
    let has = |bit: u64| capabilities.is_ok_and(|all| all & bit != 0);
    has(CL_DEVICE_SVM_FINE_GRAIN_SYSTEM)
        || has(u64::MAX) && device.is_pocls() && device.is_processor()
}

/// Whether the driver must not get commands on these bytes, because they are ours. pocl keeps a list of its allocations; from 5.0
/// on, all commands but copies refuse other memory, or crash (a fill in 6.0).
pub fn is_unknown_to_driver(context: &Context, address: usize, bytes: usize) -> bool {
    contains_all(address, bytes) && context.devices.iter().any(|d| d.is_pocls())
}

/// A `clEnqueueSVMMemFill`, as a native kernel's argument.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fill {
    to: usize,
    size: usize,
    pattern: [u8; 128],
    pattern_size: usize,
}

impl Fill {
    /// # Errors
    /// `CL_INVALID_VALUE`: no pattern, or not of 1, 2, 4 … 128 bytes; address or size are no multiple of that; no size.
    pub fn new(to: usize, size: usize, pattern: &[u8]) -> CLResult<Fill> {
        let pattern_size = pattern.len();
        let fits = |n: usize| n.is_multiple_of(pattern_size);
        let is_size = pattern_size.is_power_of_two() && pattern_size <= 128;
        if size == 0 || !is_size || !fits(to) || !fits(size) {
            return Err(CL_INVALID_VALUE);
        }
        let mut bytes = [0; 128];
        bytes[..pattern_size].copy_from_slice(pattern);
        Ok(Fill {
            to,
            size,
            pattern: bytes,
            pattern_size,
        })
    }

    /// What the memory holds afterwards.
    pub fn content(&self) -> Vec<u8> {
        self.pattern[..self.pattern_size].repeat(self.size / self.pattern_size)
    }

    /// The native kernel.
    ///
    /// # Safety
    /// `fill` points at a [`Fill`], of memory that the program may have written now.
    pub unsafe extern "C" fn run(fill: *mut c_void) {
        // SAFETY: the caller's promise; a driver's copy of the arguments may lie anywhere.
        let fill = unsafe { fill.cast::<Fill>().read_unaligned() };
        for at in (0..fill.size).step_by(fill.pattern_size) {
            // SAFETY: the program gave the range to be written.
            unsafe {
                std::ptr::with_exposed_provenance_mut::<u8>(fill.to + at)
                    .copy_from_nonoverlapping(fill.pattern.as_ptr(), fill.pattern_size);
            }
        }
    }
}

/// Whether all devices of the context work on the process's own memory.
pub fn is_ours(context: &Context) -> bool {
    context
        .devices
        .iter()
        .all(|device| addresses_our_memory(device))
}

/// Memory of ours, page-aligned.
///
/// # Errors
/// `CL_OUT_OF_HOST_MEMORY`.
pub fn allocate(context: Arc<Context>, bytes: usize) -> CLResult<usize> {
    let memory = HostMemory::new(bytes).map_err(|_| CL_OUT_OF_HOST_MEMORY)?;
    let address = memory.address();
    let allocation = Allocation {
        memory,
        bytes,
        context,
    };
    allocations().insert(address, allocation);
    Ok(address)
}

/// Gives memory of ours back; false if it is not.
pub fn free(address: usize) -> bool {
    let freed = allocations().remove(&address);
    freed.is_some()
}

/// Whether the address lies in memory of ours.
pub fn contains(address: usize) -> bool {
    contains_all(address, 1)
}

fn contains_all(address: usize, bytes: usize) -> bool {
    let all = allocations();
    let below = all.range(..=address).next_back();
    below.is_some_and(|(_, one)| {
        let offset = address - one.memory.address();
        offset < one.bytes && bytes <= one.bytes - offset
    })
}

/// Whether a buffer of that size over memory of ours would reach beyond it.
///
/// "`CL_INVALID_BUFFER_SIZE` … if `CL_MEM_USE_HOST_PTR` is set in flags and `host_ptr` is a pointer returned by `clSVMAlloc` and
/// size is greater than the size passed to `clSVMAlloc`": the driver does not know it as its own.
pub fn is_smaller(context: &Context, address: usize, bytes: usize) -> bool {
    let all = allocations();
    let begins_here = all.get(&address);
    begins_here.is_some_and(|one| bytes > one.bytes && std::ptr::eq(&*one.context, context))
}

/// After a move: the devices of now must work on our memory too.
///
/// # Errors
/// `CL_INVALID_DEVICE`.
pub fn check() -> CLResult<()> {
    if allocations().values().all(|one| is_ours(&one.context)) {
        Ok(())
    } else {
        log::warn!("the program has {REASON} here, not where it comes from");
        Err(CL_INVALID_DEVICE)
    }
}
