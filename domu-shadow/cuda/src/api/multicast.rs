//! Memory of several GPUs at once: a process that uses it does not move. Its handles may have been imported, and then are tokens of ours.

use std::ffi::c_uint;

use crate::abi::*;
use crate::core::entry::own;
use crate::core::state::state;
use crate::driver::functions::driver;
use crate::driver::vm::{Answer, check};

/// The driver's handles; the process does not move any more.
fn multicast(handle: u64) -> Answer<u64> {
    runtime::blocked::block("memory of several GPUs at once (cuMulticast*)");
    state().virtual_memory.to_driver(handle)
}

/// Memory that others see from now on.
fn bound(handle: u64) -> Answer<u64> {
    let mut state = state();
    let of_driver = state.virtual_memory.to_driver(handle)?;
    state.virtual_memory.leave(handle);
    Ok(of_driver)
}

fn bound_address(at: CUdeviceptr) {
    let mut state = state();
    if let Some((base, _)) = state.allocations.around(at) {
        state.allocations.share(base);
    }
    let token = state
        .virtual_memory
        .around(at)
        .map(|(_, mapping)| mapping.token);
    if let Some(token) = token {
        state.virtual_memory.leave(token);
    }
}

own! {
    fn cuMulticastAddDevice(object: CUmemGenericAllocationHandle, device: CUdevice) driver {
        let handle = multicast(object)?;
        check(unsafe { driver().cuMulticastAddDevice(handle, device) })
    }

    fn cuMulticastBindMem(
        object: CUmemGenericAllocationHandle,
        object_offset: usize,
        memory: CUmemGenericAllocationHandle,
        offset: usize,
        size: usize,
        flags: u64,
    ) contents {
        let (handle, memory) = (multicast(object)?, bound(memory)?);
        check(unsafe {
            driver().cuMulticastBindMem(handle, object_offset, memory, offset, size, flags)
        })
    }

    fn cuMulticastBindMem_v2(
        object: CUmemGenericAllocationHandle,
        device: CUdevice,
        object_offset: usize,
        memory: CUmemGenericAllocationHandle,
        offset: usize,
        size: usize,
        flags: u64,
    ) contents {
        let (handle, memory) = (multicast(object)?, bound(memory)?);
        let driver = driver();
        check(unsafe {
            driver.cuMulticastBindMem_v2(handle, device, object_offset, memory, offset, size, flags)
        })
    }

    fn cuMulticastBindAddr(
        object: CUmemGenericAllocationHandle,
        offset: usize,
        at: CUdeviceptr,
        size: usize,
        flags: u64,
    ) contents {
        let handle = multicast(object)?;
        bound_address(at);
        check(unsafe { driver().cuMulticastBindAddr(handle, offset, at, size, flags) })
    }

    fn cuMulticastBindAddr_v2(
        object: CUmemGenericAllocationHandle,
        device: CUdevice,
        offset: usize,
        at: CUdeviceptr,
        size: usize,
        flags: u64,
    ) contents {
        let handle = multicast(object)?;
        bound_address(at);
        check(unsafe { driver().cuMulticastBindAddr_v2(handle, device, offset, at, size, flags) })
    }

    fn cuMulticastUnbind(
        object: CUmemGenericAllocationHandle,
        device: CUdevice,
        offset: usize,
        size: usize,
    ) driver {
        let handle = multicast(object)?;
        check(unsafe { driver().cuMulticastUnbind(handle, device, offset, size) })
    }

    fn cuLogicalEndpointBindMem(
        endpoint: c_uint,
        device: CUdevice,
        endpoint_offset: u64,
        memory: CUmemGenericAllocationHandle,
        offset: u64,
        size: u64,
        flags: u64,
    ) contents {
        runtime::blocked::block("fabric memory (cuLogicalEndpointBindMem)");
        let (memory, driver) = (bound(memory)?, driver());
        check(unsafe {
            driver.cuLogicalEndpointBindMem(endpoint, device, endpoint_offset, memory, offset, size, flags)
        })
    }
}
