//! Handles of physical memory (`cuMemCreate`), which mappings outlive.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use super::addresses::GRANULE;
use super::backing::Backing;
use super::space::{self, Kind};
use crate::abi::*;
use crate::device;
use crate::lock::lock;
use crate::table;

/// A handle's memory.
#[derive(Clone)]
pub struct Physical {
    pub backing: Arc<Backing>,
    pub properties: CUmemAllocationProp,
    /// How many releases it wants.
    references: usize,
}

static HANDLES: Mutex<BTreeMap<Handle, Physical>> = Mutex::new(BTreeMap::new());

/// Checks what memory is asked for; the device it is on, or `None` for the host.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE`, `CUDA_ERROR_INVALID_DEVICE`, `CUDA_ERROR_NOT_SUPPORTED`.
pub fn check(properties: &CUmemAllocationProp) -> Outcome<Option<usize>> {
    if properties.kind != CU_MEM_ALLOCATION_TYPE_PINNED {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    match properties.handle_types {
        0 | CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR => {}
        _ => return Err(CUDA_ERROR_NOT_SUPPORTED),
    }
    match properties.location.kind {
        CU_MEM_LOCATION_TYPE_DEVICE => {
            device::get(properties.location.id).map(|device| Some(device.ordinal))
        }
        CU_MEM_LOCATION_TYPE_HOST if properties.handle_types == 0 => Ok(None),
        CU_MEM_LOCATION_TYPE_HOST_NUMA if properties.location.id == 0 => Ok(None),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// # Errors
/// As [`check`], and `CUDA_ERROR_OUT_OF_MEMORY`.
pub fn create(size: u64, properties: CUmemAllocationProp) -> Outcome<Handle> {
    let device = check(&properties)?;
    if size == 0 || !size.is_multiple_of(GRANULE) || properties.reserved != [0; 4] {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    let backing = Backing::new(device, size)?;
    Ok(insert(backing, properties))
}

fn insert(backing: Arc<Backing>, properties: CUmemAllocationProp) -> Handle {
    let handle = table::new_handle();
    let physical = Physical {
        backing,
        properties,
        references: 1,
    };
    lock(&HANDLES).insert(handle, physical);
    handle
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for a handle that is none, or released.
pub fn get(handle: Handle) -> Outcome<Physical> {
    lock(&HANDLES)
        .get(&handle)
        .cloned()
        .ok_or(CUDA_ERROR_INVALID_VALUE)
}

/// # Errors
/// As [`get`].
pub fn release(handle: Handle) -> Outcome<()> {
    let mut handles = lock(&HANDLES);
    let physical = handles.get_mut(&handle).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    physical.references -= 1;
    if physical.references == 0 {
        handles.remove(&handle);
    }
    Ok(())
}

/// The handle of the memory that is mapped at an address, with one release more to come.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where no `cuMemMap` mapping is.
pub fn retain(address: u64) -> Outcome<Handle> {
    let mapping = space::find(address).ok_or(CUDA_ERROR_INVALID_VALUE)?;
    let Kind::Physical(handle) = mapping.kind else {
        return Err(CUDA_ERROR_INVALID_VALUE);
    };
    let mut handles = lock(&HANDLES);
    if let Some(physical) = handles.get_mut(&handle) {
        physical.references += 1;
        return Ok(handle);
    }
    // Released, but mapped: the same handle is good again.
    let location = match mapping.backing.device() {
        Some(device) => CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_DEVICE,
            id: device as i32,
        },
        None => CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_HOST,
            id: 0,
        },
    };
    let properties = CUmemAllocationProp {
        kind: CU_MEM_ALLOCATION_TYPE_PINNED,
        location,
        handle_types: mapping.flags,
        ..CUmemAllocationProp::default()
    };
    handles.insert(
        handle,
        Physical {
            backing: mapping.backing,
            properties,
            references: 1,
        },
    );
    Ok(handle)
}

/// A file that stands for the memory in any process.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` where it was not made for that.
pub fn export(handle: Handle) -> Outcome<OwnedFd> {
    let physical = get(handle)?;
    match physical.properties.handle_types & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR {
        0 => Err(CUDA_ERROR_INVALID_VALUE),
        _ => physical.backing.export(),
    }
}

/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for a file that is none of memory.
pub fn import(file: OwnedFd) -> Outcome<Handle> {
    let properties = CUmemAllocationProp {
        kind: CU_MEM_ALLOCATION_TYPE_PINNED,
        handle_types: CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
        location: CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_DEVICE,
            id: 0,
        },
        ..CUmemAllocationProp::default()
    };
    Ok(insert(Backing::import(file)?, properties))
}
