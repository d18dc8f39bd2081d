//! `cuMemCreate`, `cuMemMap` and their kin. The program's handles are tokens of ours.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use crate::abi::*;
use crate::core::block::{Block, Place};
use crate::core::context::Context;
use crate::core::current;
use crate::core::entry::own;
use crate::core::obstacles::{IMPORTED, MANAGED};
use crate::core::room::with_ours;
use crate::core::state::{Locked, state};
use crate::core::vmm::is_token;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, Properties, Real, check};

/// `CU_MEM_CREATE_USAGE_TILE_POOL`: memory of sparse arrays, which has no address.
const TILE_POOL: u16 = 1;

/// The context in which memory of a device is reached.
fn context_of(state: &mut Locked, device: CUdevice) -> Option<Arc<Context>> {
    let current = current::context(state, current::handle()).ok();
    current
        .filter(|context| context.device() == device)
        .or_else(|| state.contexts.of_device(device).cloned())
}

/// The driver has created memory: what the program calls it.
fn created(handle: u64, size: usize, properties: Properties, flags: u64) -> u64 {
    let device = properties.location.id;
    current::note_primary(device);
    let mut state = state();
    let moves = properties.kind == CU_MEM_ALLOCATION_TYPE_PINNED
        && properties.is_devices()
        && properties.usage & TILE_POOL == 0;
    let context = moves.then(|| context_of(&mut state, device)).flatten();
    let memory = &mut state.virtual_memory;
    let token = memory.next_token();
    let block = context.map(|context| Arc::new(Block::new(Place::Physical(token), size, context)));
    memory.created(token, block, size, properties, flags, handle);
    if properties.kind == CU_MEM_ALLOCATION_TYPE_MANAGED {
        memory.hold(token, MANAGED.hold());
    }
    token
}

/// Waits until we do not use what is mapped in a range.
///
/// # Errors
/// `CUDA_ERROR_INVALID_VALUE` for ordinary memory, as the driver says.
fn range(at: CUdeviceptr, size: usize) -> Answer<Locked> {
    let state = state().wait_unpinned(|state| state.virtual_memory.pinned(at, size));
    match state.allocations.ordinary_around(at) {
        Some(_) => Err(CUDA_ERROR_INVALID_VALUE),
        None => Ok(state),
    }
}

/// The driver's handles in a list of sparse mappings. The memory is the driver's from now on.
fn translated(list: &[CUarrayMapInfo]) -> Answer<Vec<CUarrayMapInfo>> {
    let mut state = state();
    let mut translate = |one: &CUarrayMapInfo| {
        let handle = state.virtual_memory.to_driver(one.handle)?;
        state.virtual_memory.leave(one.handle);
        Ok(CUarrayMapInfo { handle, ..*one })
    };
    list.iter().map(&mut translate).collect()
}

fn map_arrays(
    list: *mut CUarrayMapInfo,
    count: c_uint,
    map: impl FnOnce(*mut CUarrayMapInfo) -> CUresult,
) -> Answer<()> {
    if list.is_null() {
        return check(map(list));
    }
    let given = unsafe { std::slice::from_raw_parts(list, count as usize) };
    let mut translated = translated(given)?;
    check(map(translated.as_mut_ptr()))
}

own! {
    fn cuMemCreate(
        handle: *mut CUmemGenericAllocationHandle,
        size: usize,
        properties: *const CUmemAllocationProp,
        flags: u64,
    ) driver {
        with_ours(|| unsafe { driver().cuMemCreate(handle, size, properties, flags) })?;
        let properties = Properties::from(unsafe { &*properties });
        let token = created(unsafe { handle.read() }, size, properties, flags);
        unsafe { handle.write(token) };
        Ok(())
    }

    fn cuMemRelease(handle: CUmemGenericAllocationHandle) driver {
        if !is_token(handle) {
            return check(unsafe { driver().cuMemRelease(handle) });
        }
        let mut state = state().wait_unpinned(|state| {
            let memory = &state.virtual_memory;
            let ended = memory.get(handle).filter(|_| memory.ends_with_release(handle));
            ended.map_or_else(Vec::new, |it| it.pinned().cloned().collect())
        });
        state.virtual_memory.release(handle, &Real)
    }

    fn cuMemMap(
        at: CUdeviceptr,
        size: usize,
        offset: usize,
        handle: CUmemGenericAllocationHandle,
        flags: u64,
    ) driver {
        if !is_token(handle) {
            return check(unsafe { driver().cuMemMap(at, size, offset, handle, flags) });
        }
        state().virtual_memory.map(at, size, offset, handle, flags, &Real)
    }

    fn cuMemUnmap(at: CUdeviceptr, size: usize) driver {
        range(at, size)?.virtual_memory.unmap(at, size, &Real)
    }

    fn cuMemSetAccess(
        at: CUdeviceptr,
        size: usize,
        access: *const CUmemAccessDesc,
        count: usize,
    ) driver {
        let mut state = range(at, size)?;
        if access.is_null() {
            return check(unsafe { driver().cuMemSetAccess(at, size, access, count) });
        }
        let access = unsafe { std::slice::from_raw_parts(access, count) };
        state.virtual_memory.set_access(at, size, access, &Real)
    }

    fn cuMemAddressFree(at: CUdeviceptr, size: usize) driver {
        drop(range(at, size)?);
        check(unsafe { driver().cuMemAddressFree(at, size) })
    }

    fn cuMemGetAllocationPropertiesFromHandle(
        properties: *mut CUmemAllocationProp,
        handle: CUmemGenericAllocationHandle,
    ) driver {
        let handle = state().virtual_memory.to_driver(handle)?;
        check(unsafe { driver().cuMemGetAllocationPropertiesFromHandle(properties, handle) })
    }

    fn cuMemRetainAllocationHandle(
        handle: *mut CUmemGenericAllocationHandle,
        at: *mut c_void,
    ) driver {
        let mut state = state();
        let address = at as CUdeviceptr;
        if handle.is_null() || state.allocations.ordinary_around(address).is_some() {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        if let Some(token) = state.virtual_memory.retain(address) {
            unsafe { handle.write(token) };
            return Ok(());
        }
        check(unsafe { driver().cuMemRetainAllocationHandle(handle, at) })
    }

    /// From then on others may know the memory.
    fn cuMemExportToShareableHandle(
        shareable: *mut c_void,
        handle: CUmemGenericAllocationHandle,
        kind: c_uint,
        flags: u64,
    ) contents {
        let of_driver = state().virtual_memory.to_driver(handle)?;
        check(unsafe { driver().cuMemExportToShareableHandle(shareable, of_driver, kind, flags) })?;
        state().virtual_memory.leave(handle);
        Ok(())
    }

    fn cuMemImportFromShareableHandle(
        handle: *mut CUmemGenericAllocationHandle,
        shareable: *mut c_void,
        kind: c_uint,
    ) driver {
        let hold = IMPORTED.hold();
        check(unsafe { driver().cuMemImportFromShareableHandle(handle, shareable, kind) })?;
        let imported = unsafe { handle.read() };
        let mut abi = CUmemAllocationProp::default();
        let code = unsafe {
            driver().cuMemGetAllocationPropertiesFromHandle(&raw mut abi, imported)
        };
        let properties = match code {
            CUDA_SUCCESS => Properties::from(&abi),
            _ => Properties::of_device(0),
        };
        let mut state = state();
        let memory = &mut state.virtual_memory;
        let token = memory.next_token();
        memory.created(token, None, 0, properties, 0, imported);
        memory.hold(token, hold);
        unsafe { handle.write(token) };
        Ok(())
    }

    fn cuMemMapArrayAsync(list: *mut CUarrayMapInfo, count: c_uint, stream: CUstream) contents {
        map_arrays(list, count, |list| unsafe {
            driver().cuMemMapArrayAsync(list, count, stream)
        })
    }

    fn cuMemMapArrayAsync_ptsz(list: *mut CUarrayMapInfo, count: c_uint, stream: CUstream) contents {
        map_arrays(list, count, |list| unsafe {
            driver().cuMemMapArrayAsync_ptsz(list, count, stream)
        })
    }
}
