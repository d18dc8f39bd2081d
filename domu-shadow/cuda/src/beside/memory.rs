//! Device memory of our own.

use std::ptr::null_mut;

use runtime::delta::device::Result;

use super::home::{Home, call};
use crate::abi::*;
use crate::core::room;

/// Device memory, by `cuMemCreate`: neither making nor releasing it waits for the device. No work may use it when it is dropped.
#[derive(Debug)]
pub struct Memory {
    home: Home,
    at: CUdeviceptr,
    bytes: usize,
    handle: CUmemGenericAllocationHandle,
}

impl Memory {
    /// At least so many bytes, for the context's device.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`, the driver's others.
    pub fn new(home: &Home, bytes: usize) -> Result<Memory> {
        let _here = home.enter()?;
        let location = CUmemLocation {
            kind: CU_MEM_LOCATION_TYPE_DEVICE,
            id: home.context().device(),
        };
        let properties = CUmemAllocationProp {
            kind: CU_MEM_ALLOCATION_TYPE_PINNED,
            requested_handle_types: 0,
            location,
            win32_handle_meta_data: null_mut(),
            compression_type: 0,
            gpu_direct_rdma_capable: 0,
            usage: 0,
            reserved: [0; 4],
        };
        let mut granule = 0;
        call!(cuMemGetAllocationGranularity(
            &raw mut granule,
            &raw const properties,
            CU_MEM_ALLOC_GRANULARITY_MINIMUM
        ))?;
        let bytes = bytes.max(1).next_multiple_of(granule.max(1));
        // What was made goes with it where a later step fails.
        let mut memory = Memory {
            home: home.clone(),
            at: 0,
            bytes,
            handle: 0,
        };
        call!(cuMemCreate(
            &raw mut memory.handle,
            bytes,
            &raw const properties,
            0
        ))?;
        room::took(location.id, bytes);
        call!(cuMemAddressReserve(&raw mut memory.at, bytes, 0, 0, 0))?;
        call!(cuMemMap(memory.at, bytes, 0, memory.handle, 0))?;
        let access = CUmemAccessDesc {
            location,
            flags: CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
        };
        call!(cuMemSetAccess(memory.at, bytes, &raw const access, 1))?;
        Ok(memory)
    }

    /// Work may be using it for ever: it is never released.
    pub fn leak(&mut self) {
        if self.handle != 0 {
            room::gave(self.home.context().device(), self.bytes);
        }
        (self.at, self.handle) = (0, 0);
    }

    pub fn at(&self) -> CUdeviceptr {
        self.at
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // It outlives the context, which need not be there for this.
        let _here = self.home.enter();
        let mut steps = Vec::new();
        if self.at != 0 {
            steps.push(call!(cuMemUnmap(self.at, self.bytes)));
            steps.push(call!(cuMemAddressFree(self.at, self.bytes)));
        }
        if self.handle != 0 {
            steps.push(call!(cuMemRelease(self.handle)));
            room::gave(self.home.context().device(), self.bytes);
        }
        for error in steps.into_iter().filter_map(Result::err) {
            log::debug!("{error}");
        }
    }
}
